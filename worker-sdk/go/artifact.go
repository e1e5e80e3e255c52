package metafleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Artifact is what metadata says of something that [Task.PutArtifact] has kept; see [Meta.Artifact].
type Artifact = wire.Artifact

// PutArtifact keeps something that the plugin made of the file, e.g. a picture, in the broker, where everybody can
// read it. It returns when the broker has stored it, with what to say of it in the metadata: see [Meta.Artifact].
// The same name again takes the place of the one before, also that of an earlier attempt or version.
//
// A name that is not 1 to 128 bytes of UTF-8 without control characters, what is no media type, and more bytes than
// the broker takes in one message are errors marked by [Permanent]. Any other one is worth another attempt. It ends
// with ctx and with the attempt, whichever ends first.
func (t *Task) PutArtifact(ctx context.Context, name, mediaType string, data []byte) (Artifact, error) {
	if err := checkArtifact(name, mediaType); err != nil {
		return Artifact{}, Permanent(err)
	}
	ctx, done := t.within(ctx)
	defer done()
	if ctx.Err() != nil {
		return Artifact{}, fmt.Errorf("artefact `%s` was not kept: %w", name, context.Cause(ctx))
	}
	artifact := wire.ArtifactOf(name, mediaType, data)
	if err := t.port.artifact(ctx, t, artifact, data); err != nil {
		return Artifact{}, err
	}
	return artifact, nil
}

func checkArtifact(name, mediaType string) error {
	if err := names.CheckArtifact(name); err != nil {
		return err
	}
	if !isMediaType(mediaType) {
		return fmt.Errorf("`%s` is no media type of the artefact `%s`: it is like `image/jpeg`, with at most %d characters of ASCII",
			delivery.Short(mediaType), name, longestMediaType)
	}
	return nil
}

const longestMediaType = 255

// token/token, then parameters that nobody here reads; the same in the SDKs of all languages.
var mediaTypes = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+/[A-Za-z0-9!#$%&'*+.^_`|~-]+(?: *;(?:[ -~]*[!-~])?)?$")

func isMediaType(text string) bool {
	return len(text) <= longestMediaType && mediaTypes.MatchString(text)
}

// errAttemptOver is why what a handler left behind cannot cause anything any more.
var errAttemptOver = errors.New("the attempt is over")

// within is ctx, which also ends with the attempt; done must be called.
func (t *Task) within(ctx context.Context) (joined context.Context, done func()) {
	joined, cancel := context.WithCancelCause(ctx)
	if t.life.Err() != nil { // the call below would be told a moment later
		cancel(errAttemptOver)
	}
	stop := context.AfterFunc(t.life, func() { cancel(errAttemptOver) })
	return joined, func() {
		stop()
		cancel(nil)
	}
}

// artifact implements port. The same bytes in the same place: storing them twice does no harm.
func (j *job) artifact(ctx context.Context, _ *Task, artifact Artifact, data []byte) error {
	subject := j.w.names.Artifact(j.task.Cid, j.task.PluginID, j.task.Trial, artifact.Name)
	// The writer may still hold the message when ctx has ended and the plugin uses its buffer for something else.
	message := j.carrying(subject, bytes.Clone(data))
	message.Header["Content-Type"] = []string{artifact.MediaType}
	switch err := j.w.publisher.store(ctx, message); {
	case err == nil:
		return nil
	case errors.Is(err, errTooLarge):
		return Permanentf("artefact `%s` has %d bytes, %w", artifact.Name, artifact.Size, err)
	default:
		return fmt.Errorf("the broker did not take artefact `%s`: %w", artifact.Name, err)
	}
}
