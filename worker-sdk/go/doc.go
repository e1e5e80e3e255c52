// Package metafleet is what a MetaFleet plugin written in Go is built on: a manifest, a Process method, and
// one line of main.
//
//	//go:embed manifest.json
//	var manifest []byte
//
//	type lines struct{}
//
//	func (lines) Manifest() metafleet.Manifest { return metafleet.MustManifest(manifest) }
//
//	func (lines) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) { … }
//
//	func main() { metafleet.Run(lines{}) }
//
// The worker announces the manifest to the coordinator, takes its settings, pulls tasks, calls Process under
// the deadline of each task, renews the lease meanwhile, and writes one record per file. What it promises:
// a task is never lost, whatever dies; it runs at least once and has exactly one outcome.
//
// # What Process says
//
//   - [Completed]: the record, replacing what the plugin wrote before.
//   - [Skipped]: a record that says why there is nothing.
//   - [RetryLater]: the task comes again after that time; costs no attempt.
//   - [ForwardFile], [ForwardPlugin]: another file, or this file for another plugin, is handed in.
//   - an error: the next attempt, after the delay in the manifest's `retry`.
//   - an error wrapped by [Permanent]: a dead letter with the error, for a person.
//   - a panic, or too much time: as an error.
//
// A key that the manifest's dataSchema does not allow is a permanent failure that names the key.
//
// # Time
//
// The context of Process ends at the deadline of the task, and when the worker has to stop at once. A
// handler that does not heed it is left behind: its task fails and comes again, its place goes to the next
// task, and what it says later is dropped. A worker that has left too many behind drains and ends with exit
// code 1, because only a new process gets rid of them.
package metafleet
