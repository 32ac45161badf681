package sealedswitch_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/cleave-go/cleave/tools/sealedswitch"
)

// The comments in testdata say what is expected, and that nothing else is.
func TestForgottenMembersAreFound(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), sealedswitch.Analyzer, "orders", "shop")
}
