package metafleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/facts"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/midhash"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// maxDepth is how many plugins may make files from files on the way.
const maxDepth = 8

// submission looks at a file that the plugin made.
func (j *job) submission(path string) (wire.Submission, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return wire.Submission{}, err
	}
	s := wire.Submission{Type: wire.SubmissionType, Origin: j.task.PluginID, Depth: j.task.Depth + 1, ScanID: j.task.ScanID}
	if s.Depth > maxDepth {
		return s, Permanentf("%q was made from a file that was made from a file, %d times", path, s.Depth)
	}
	if s.File, s.Cid, err = look(path); err != nil {
		return s, fmt.Errorf("could not hand in %q: %w", path, err)
	}
	s.FilePath, s.FilePathBytes = onTheWire(j.w.options.Paths.There(path))
	return s, nil
}

// look reads the facts and the content id of a file.
func look(path string) (wire.FileFacts, string, error) {
	f, err := facts.OfFile(path)
	if err != nil {
		return f, "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return f, "", err
	}
	defer file.Close() // nothing was written
	info, err := file.Stat()
	if err != nil {
		return f, "", err
	}
	if !info.Mode().IsRegular() {
		return f, "", errors.New("it is not a regular file")
	}
	f.Size = uint64(info.Size())
	cid, err := midhash.Of(file, info.Size())
	return f, cid, err
}

// onTheWire gives a path as text, and its exact bytes where that is not UTF-8.
func onTheWire(path string) (text, exact string) {
	if utf8.ValidString(path) {
		return path, ""
	}
	return strings.ToValidUTF8(path, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(path))
}

// submit implements port. The id has a repeated try stored once.
func (j *job) submit(ctx context.Context, _ *Task, path string) error {
	s, err := j.submission(path)
	if err != nil {
		return err
	}
	body, err := wire.Marshal(s)
	if err != nil {
		return err
	}
	message := j.carrying(j.w.names.Submit(j.address.Queue), body)
	message.Header["Nats-Msg-Id"] = []string{fmt.Sprintf("submit.%d.%x.%s", j.held.message.sequence, sha256.Sum256(body), secret)}
	switch err := j.w.publisher.store(ctx, message); {
	case err == nil:
		return nil
	case errors.Is(err, errTooLarge):
		return Permanentf("the broker does not take %q: %w", path, err)
	default:
		return fmt.Errorf("the broker did not take %q: %w", path, err)
	}
}

// secret is in the ids of messages: whoever could guess one could have the message taken for a repetition.
var secret = rand.Text()

// errNotHandedOn is why a forward is neither carried out nor failed: it is left to the lease.
var errNotHandedOn = errors.New("the submission could not be stored")

// handOn carries out a forward, and says for the record what it did.
func (j *job) handOn(outcome Outcome) (string, error) {
	var s wire.Submission
	var err error
	switch outcome.kind {
	case outcomeFile:
		if s, err = j.submission(outcome.target); err != nil {
			return "", err
		}
	case outcomePlugin:
		if err := names.CheckPlugin(outcome.target); err != nil {
			return "", Permanent(err)
		}
		s = wire.Submission{
			Type: wire.SubmissionType, Cid: j.task.Cid, FilePath: j.task.FilePath, FilePathBytes: j.task.FilePathBytes, File: j.task.File,
			Only: []string{outcome.target}, Origin: j.task.PluginID, Depth: j.task.Depth + 1, ScanID: j.task.ScanID,
		}
	default:
		return "", Permanentf("%v is no forward", outcome)
	}
	if s.Depth > maxDepth {
		return "", Permanentf("forwarded %d times", s.Depth)
	}
	body, err := wire.Marshal(s)
	if err != nil {
		return "", Permanent(err)
	}
	message := j.carrying(j.w.names.Submit(j.address.Queue), body)
	message.Header["Nats-Msg-Id"] = []string{fmt.Sprintf("forward.%d.%s", j.held.message.sequence, secret)}
	switch err := j.store(message); {
	case errors.Is(err, errTooLarge):
		return "", Permanentf("the submission is %w", err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", errNotHandedOn, err)
	}
	return "forwarded to " + outcome.target, nil
}
