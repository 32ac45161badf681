// Package machine is the rule book of sagas: what follows when a step is
// carried out, refused, put off or not answered. It is one pure function of
// (instance, input, time), without goroutines, clock, bus or database.
//
//	running ──done──▶ running … ──last step done──▶ completed
//	   │ refused, or timed out, at or before the pivot
//	   ▼
//	compensating ──undo done──▶ compensating … ──first step undone──▶ rolled back
//
// A step that timed out may still be carried out later: its own undo is sent
// behind it at once, and its answer is awaited only after the other steps are
// undone, so that one silent participant holds up nobody else.
//
// The caller stores the instance, performs the effects in one transaction with
// it, and feeds back what they lead to. Commands are numbered within a saga;
// an answer counts only if it names the number that is awaited.
package machine
