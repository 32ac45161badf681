package pipeline

import (
	"fmt"
	"strings"
	"time"
)

// Stage is one part of the line.
type Stage string

// The stages, in their order.
const (
	PreCommit   Stage = "pre-commit"
	Commit      Stage = "commit"
	Integration Stage = "integration"
	Component   Stage = "component"
	Deploy      Stage = "deploy"
)

// Stages returns all stages in their order.
func Stages() []Stage { return []Stage{PreCommit, Commit, Integration, Component, Deploy} }

// Outcome is how a stage ended.
type Outcome string

// The outcomes.
const (
	Passed    Outcome = "passed"
	Unchanged Outcome = "unchanged" // it passed before with the same inputs, and was not repeated
	Skipped   Outcome = "skipped"   // there was nothing to do it to; Why says so
	Failed    Outcome = "failed"
)

// Report is what a run did.
type Report struct {
	System  string   `json:"system"`
	Passed  bool     `json:"passed"`
	Seconds float64  `json:"seconds"`
	Results []Result `json:"results"`
}

// Result is what one stage did.
type Result struct {
	Stage    Stage   `json:"stage"`
	Service  string  `json:"service,omitempty"` // empty for pre-commit, which judges the change as a whole
	Outcome  Outcome `json:"outcome"`
	Why      string  `json:"why"` // it ran, did not run, or failed
	Seconds  float64 `json:"seconds"`
	Artifact string  `json:"artifact,omitempty"` // the SHA-256 of the binary that it made or judged
	Steps    []Step  `json:"steps,omitempty"`    // of the run that passed, if it is unchanged
}

// Step is one thing that a stage did.
type Step struct {
	Name    string  `json:"name"`
	Command string  `json:"command,omitempty"` // to repeat it in the system's folder
	Note    string  `json:"note,omitempty"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Output  string  `json:"output,omitempty"`
}

// StageError says which stage stopped the line.
type StageError struct {
	Stage   Stage
	Service string
	Step    Step
	Err     error
}

func (e *StageError) Error() string {
	of := ""
	if e.Service != "" {
		of = " of " + e.Service
	}
	text := fmt.Sprintf("the %s stage%s stopped the line: %s", e.Stage, of, e.Step.Name)
	if e.Step.Note != "" {
		text += ": " + e.Step.Note
	}
	if out := strings.TrimRight(e.Step.Output, "\n"); out != "" {
		text += "\n" + out
	}
	return text
}

// Unwrap returns what was wrong.
func (e *StageError) Unwrap() error { return e.Err }

// UsageError says that a run makes no sense as it was asked for.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// NameError says that the system has no such service.
type NameError struct {
	Name  string
	Known []string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("there is no service %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

// NeedError says that a stage was asked for alone and an earlier one has not
// passed with what is here.
type NeedError struct {
	Stage, Missing Stage
	Service        string
}

func (e *NeedError) Error() string {
	return fmt.Sprintf("the %s stage of %s needs the %s stage, which has not passed with what is here; run `cleave pipeline run %s`", e.Stage, e.Service, e.Missing, e.Service)
}

func seconds(since time.Time) float64 {
	return float64(time.Since(since).Round(time.Millisecond)) / float64(time.Second)
}
