package names

import (
	"fmt"
	"strings"
)

// Queues in the order in which they go first.
const (
	Fast       = "fast"
	Background = "background"
)

// Lanes that are no routes.
const (
	LaneMain = "main"
	LaneNext = "next"
)

// Names makes the names of one fleet.
type Names struct{ prefix string }

// New gives the names of the fleet with a valid prefix, see [CheckPrefix].
func New(prefix string) Names { return Names{prefix} }

func (n Names) stream(what string) string {
	return strings.ToUpper(strings.ReplaceAll(n.prefix, "-", "_")) + "_" + what
}

// TaskStream is the stream of tasks.
func (n Names) TaskStream() string { return n.stream("TASKS") }

// Next is where pull requests go.
func (n Names) Next(plugin, lane, queue string) string {
	return "$JS.API.CONSUMER.MSG.NEXT." + n.TaskStream() + "." + Consumer(plugin, lane, queue)
}

// Consumer is the consumer of the tasks of one plugin, lane and queue.
func Consumer(plugin, lane, queue string) string { return inLane(plugin, lane) + "_" + queue }

func inLane(plugin, lane string) string {
	if lane == "" || lane == LaneMain {
		return plugin
	}
	return plugin + "_" + lane
}

// Task is the subject of a task.
func (n Names) Task(queue, plugin, lane, cid string) string {
	return n.prefix + ".task." + queue + "." + inLane(plugin, lane) + "." + Encode(cid)
}

// Record is the subject of a record, or of the outcome of a trial.
func (n Names) Record(cid, plugin string, trial bool) string {
	if trial {
		plugin += "_" + LaneNext
	}
	return "$KV." + n.prefix + "-records." + Encode(cid) + "." + plugin
}

// Artifact is the subject of something that a plugin made of a file, or made on trial.
func (n Names) Artifact(cid, plugin string, trial bool, name string) string {
	if trial {
		plugin += "_" + LaneNext
	}
	return "$KV." + n.prefix + "-artifacts." + Encode(cid) + "." + plugin + "." + Encode(name)
}

// Signal is the subject of a signal or of the announcement.
func (n Names) Signal(plugin, kind string) string { return n.prefix + ".signal." + plugin + "." + kind }

// Submit is where files are handed in.
func (n Names) Submit(queue string) string { return n.prefix + ".submit." + queue }

// Instance is the subject of a sign of life.
func (n Names) Instance(plugin, instance string) string {
	return "$KV." + n.prefix + "-instances." + plugin + "." + instance
}

// Control is where all instances of a plugin hear what they are told; with an instance, that one.
func (n Names) Control(plugin, instance string) string {
	subject := n.prefix + ".control." + plugin
	if instance != "" {
		subject += "." + instance
	}
	return subject
}

// Address is what the subject of a task says.
type Address struct{ Queue, Plugin, Lane, CID string }

// ParseTask reads the subject of a task.
func (n Names) ParseTask(subject string) (Address, error) {
	rest, ok := strings.CutPrefix(subject, n.prefix+".task.")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return Address{}, fmt.Errorf("`%s` is no subject of a task", subject)
	}
	queue := tokens[0]
	if queue != Fast && queue != Background {
		return Address{}, fmt.Errorf("`%s`: no such queue", subject)
	}
	plugin, lane, _ := strings.Cut(tokens[1], "_")
	if lane == "" {
		lane = LaneMain
	}
	if err := CheckPlugin(plugin); err != nil {
		return Address{}, fmt.Errorf("`%s`: %w", subject, err)
	}
	cid, err := Decode(tokens[2])
	if err != nil {
		return Address{}, fmt.Errorf("`%s`: %w", subject, err)
	}
	return Address{Queue: queue, Plugin: plugin, Lane: lane, CID: cid}, nil
}
