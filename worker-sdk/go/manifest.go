package metafleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Manifest is what a plugin says about itself; make one with [ParseManifest], [MustManifest] or
// [NewManifest].
type Manifest struct {
	fields wire.Manifest
	// raw is what is announced: as it was written, fields included that this package does not know.
	raw json.RawMessage
}

// ParseManifest reads a manifest.json. Whether the plugin may serve is the coordinator's word; here only
// what a worker needs to begin is checked.
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m.fields); err != nil {
		return Manifest{}, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return Manifest{}, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	m.raw = compact.Bytes()
	return m, m.check()
}

// MustManifest reads the manifest that is compiled into a plugin, and panics when it cannot be read: a
// mistake that the plugin's first test or start finds.
func MustManifest(text []byte) Manifest {
	m, err := ParseManifest(text)
	if err != nil {
		panic(err)
	}
	return m
}

// NewManifest makes a manifest from its fields.
func NewManifest(fields wire.Manifest) (Manifest, error) {
	raw, err := wire.Marshal(fields)
	if err != nil {
		return Manifest{}, err
	}
	return ParseManifest(raw)
}

func (m Manifest) check() error {
	if err := names.CheckPlugin(m.fields.ID); err != nil {
		return fmt.Errorf("manifest: id: %w", err)
	}
	if queue := m.fields.Queue; queue != names.Fast && queue != names.Background {
		return fmt.Errorf("manifest: queue: `%s` must be `fast` or `background`", queue)
	}
	for what, present := range map[string]bool{
		"name": m.fields.Name != "", "version": m.fields.Version != "", "priority": m.fields.Priority != nil,
		"dataSchema": m.fields.DataSchema != nil,
	} {
		if !present {
			return fmt.Errorf("manifest: %s is missing", what)
		}
	}
	return nil
}

// ID is the plugin's id.
func (m Manifest) ID() string { return m.fields.ID }

// Version is the plugin's version.
func (m Manifest) Version() string { return m.fields.Version }

// Fields gives all that is known of the manifest; what it points to must not be changed.
func (m Manifest) Fields() wire.Manifest { return m.fields }

// defaultTimeout is the time for one attempt when nobody says otherwise.
const defaultTimeout = 30 * time.Second

// limit is the time for one attempt: what the task says, or else the manifest.
func (m Manifest) limit(deadlineMs uint64) time.Duration {
	switch {
	case deadlineMs > 0:
		return delivery.Millis(deadlineMs)
	case m.fields.Timeout != nil:
		return delivery.Millis(*m.fields.Timeout)
	default:
		return defaultTimeout
	}
}

// stall is how long an attempt may go on without a report of progress; 0 = without limit.
func (m Manifest) stall(task *wire.Task) time.Duration {
	switch {
	case task.ProgressTimeoutMs != nil:
		return delivery.Millis(*task.ProgressTimeoutMs)
	case m.fields.ProgressTimeout != nil:
		return delivery.Millis(*m.fields.ProgressTimeout)
	default:
		return 0
	}
}
