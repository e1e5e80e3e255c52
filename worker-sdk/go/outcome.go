package metafleet

import (
	"errors"
	"fmt"
	"time"
)

// Outcome is how a task ended, in the words of the plugin. Make one with [Completed], [Skipped],
// [RetryLater], [ForwardFile] or [ForwardPlugin]; the zero value is none, and a permanent failure.
type Outcome struct {
	kind   outcomeKind
	meta   *Meta
	reason string
	after  time.Duration
	// target is the path of a file or the id of a plugin.
	target string
}

type outcomeKind uint8

const (
	outcomeNone outcomeKind = iota
	outcomeCompleted
	outcomeSkipped
	outcomeLater
	outcomeFile
	outcomePlugin
)

// Completed brings the metadata of this file; it replaces what the plugin wrote about it before. Without any,
// nil will do.
func Completed(meta *Meta) Outcome { return Outcome{kind: outcomeCompleted, meta: meta} }

// Skipped says that there is nothing to say about this file, and why, for the person who looks at it.
func Skipped(reason string) Outcome { return Outcome{kind: outcomeSkipped, reason: reason} }

// RetryLater has the task come again after some time, because an outside service asks to wait. It costs no
// attempt.
func RetryLater(after time.Duration, reason string) Outcome {
	return Outcome{kind: outcomeLater, after: after, reason: reason}
}

// ForwardFile hands in another file, e.g. one that the plugin has just written, instead of this one.
func ForwardFile(path string) Outcome { return Outcome{kind: outcomeFile, target: path} }

// ForwardPlugin hands this file to another plugin and what that depends on; their filters still apply.
func ForwardPlugin(id string) Outcome { return Outcome{kind: outcomePlugin, target: id} }

// WithMeta keeps the plugin's own metadata with a forward; without it the record says `skipped`.
func (o Outcome) WithMeta(meta *Meta) Outcome {
	o.meta = meta
	return o
}

// String says what the outcome is, for logs and tests.
func (o Outcome) String() string {
	switch o.kind {
	case outcomeCompleted:
		return "completed"
	case outcomeSkipped:
		return "skipped: " + o.reason
	case outcomeLater:
		return fmt.Sprintf("retry after %v: %s", o.after, o.reason)
	case outcomeFile:
		return "forwarded to " + o.target
	case outcomePlugin:
		return "forwarded to the plugin " + o.target
	default:
		return "no outcome"
	}
}

// Permanent marks an error as one that would come every time: the file is broken, the settings are wrong.
// The task becomes a dead letter at once. It gives nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Permanentf is [Permanent] of [fmt.Errorf].
func Permanentf(format string, args ...any) error { return Permanent(fmt.Errorf(format, args...)) }

// IsPermanent says whether an error, or one that it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var marked *permanentError
	return errors.As(err, &marked)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }
