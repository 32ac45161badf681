// Command sealedswitch is the analyzer as a tool of go vet.
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/cleave-go/cleave/tools/sealedswitch"
)

func main() { unitchecker.Main(sealedswitch.Analyzer) }
