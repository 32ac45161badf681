package limit

// Kinds is how many kinds l measures apart.
func Kinds(l *Adaptive) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.kinds)
}
