package kit

// Run is what Main does but for the signals and the exit.
var Run = run
