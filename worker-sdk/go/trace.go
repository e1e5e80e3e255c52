package metafleet

import "context"

// Attempt is what a [Tracer] is told of one attempt at one task.
type Attempt struct {
	Plugin, Instance, Queue, Subject string
	TaskID, CID                      string
	RunID                            uint64
	Number                           int
}

// Tracer makes spans of attempts. The headers are those of the protocol: their names are case-sensitive.
type Tracer interface {
	// Begin begins the span of an attempt, whose parent the headers of the task name; end is called once
	// with the error of the attempt, if it had one, when it is settled.
	Begin(ctx context.Context, attempt Attempt, headers map[string][]string) (spanned context.Context, end func(err error))
	// Inject writes the span into the headers of what is published; they hold those of the task already.
	Inject(ctx context.Context, headers map[string][]string)
}

// noTracer leaves the headers as they came.
type noTracer struct{}

func (noTracer) Begin(ctx context.Context, _ Attempt, _ map[string][]string) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (noTracer) Inject(context.Context, map[string][]string) {}

func (j *job) span(task *Task) Attempt {
	return Attempt{
		Plugin: j.task.PluginID, Instance: j.w.instance, Queue: j.address.Queue, Subject: j.message.Subject,
		TaskID: j.task.TaskID, CID: j.task.Cid, RunID: j.task.RunID, Number: task.Attempt(),
	}
}
