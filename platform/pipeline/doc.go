// Package pipeline takes a service from a change to the running system, in five
// stages, without configuration: what a stage does follows from the packages
// that cleave.yaml names.
//
//	report, err := pipeline.Run(ctx, system, []string{"order"}, nil)
//
// The stages, each of which stops the line when it fails:
//
//   - pre-commit: gofmt, vet and the unit tests (with -short) of the packages that
//     what differs from the last commit affects, by the import graph, tests
//     included. With [Options].Staged it judges the index of git instead of the
//     working tree: `go test -overlay`, or a copy of the index when files other
//     than Go sources differ.
//   - commit: compile, unit tests, vet, staticcheck (where the module has it as a
//     tool), and the artefact, built once and named by its SHA-256.
//   - integration: the tests whose names contain Integration or Contract, those in
//     files named integration_test.go or contract_test.go (a prefix and _ may come
//     before), and all in folders named integration; the build tag integration is
//     set. The stages before leave these tests out. Consumers' contract tests and
//     the verification of providers are such tests; Pact files lie in folders named
//     contracts.
//   - component: the artefact is started alone: an empty database, an empty
//     broker, and a stub in place of each service it calls, which answers as
//     their contract says. It must become ready, answer /livez and /readyz,
//     answer every call that its consumers recorded, and end with exit status 0
//     when told to.
//   - deploy: a rolling replacement in the running system, health-gated, back to
//     the old version when the new one does not become ready. When no system is
//     up, or the service shares its process with others, the stage is skipped;
//     asked for alone it fails then.
//
// A service's packages are its program, all below its folder (what lies above
// cmd, or the program's own folder), and what these are built from within the
// system's module.
//
// # Guarantees
//
//   - What passed is not repeated while its inputs are the same: every file of the
//     packages' folders, their tests and testdata, embedded files, of other
//     packages in the workspace too, go.mod, go.sum, go.work, the versions of
//     modules, of go and of staticcheck, each allowed variable of the
//     environment, and Pact files.
//   - When a stage runs, the report names the inputs that changed since it last ran.
//   - A failure is never kept as a result, and an artefact that was changed on
//     disk is never used.
//   - Commands get an environment of allowed variables only; see [Extra].
//   - Component and deploy take the artefact that the commit stage made of exactly
//     what is here; deploy alone asks that all stages passed for it.
//
// # What the caller owes
//
// Tests that read files outside of what is listed above, or talk to something
// that runs elsewhere, are judged by what they said last. Files that change
// while a stage runs are judged with it the next time.
//
// # Debugging
//
// A [StageError] carries the step and its output; each step names the command
// to repeat it. [Options].Force runs what is unchanged. Results and artefacts lie
// in .cleave/pipeline; deleting it forgets them.
//
// # Testing
//
// A folder with a go.mod, a cleave.yaml and a package main is a system.
package pipeline
