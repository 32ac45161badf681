package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const maxCached = 4096

// cache remembers tokens that were verified with the present keys, for a signature costs a hundred
// times as much as a look-up.
type cache struct {
	mu         sync.Mutex
	generation uint64 // of the keys
	tokens     map[[sha256.Size]byte]verified
}

type verified struct {
	p       Principal
	expires time.Time
}

func (c *cache) get(sum [sha256.Size]byte, generation uint64) (verified, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return verified{}, false
	}
	t, ok := c.tokens[sum]
	return t, ok
}

func (c *cache) put(sum [sha256.Size]byte, generation uint64, t verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation || c.tokens == nil {
		c.generation, c.tokens = generation, make(map[[sha256.Size]byte]verified)
	}
	for old := range c.tokens { // some one of them
		if len(c.tokens) < maxCached {
			break
		}
		delete(c.tokens, old)
	}
	c.tokens[sum] = t
}
