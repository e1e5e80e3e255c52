package metafleet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Plugin says what it is, and turns one file into metadata.
//
// One value serves all tasks of a process, several at the same time. It may also be a [Configurer],
// [HealthChecker], [Pauser] and [Stopper].
type Plugin interface {
	// Manifest says what the plugin is; usually [MustManifest] of an embedded manifest.json.
	Manifest() Manifest
	// Process reads one file and says what it found.
	//
	// Any error is worth another attempt, unless it is marked by [Permanent]. A panic counts as an error.
	// A panic of a goroutine that Process starts ends the whole process, as always in Go.
	Process(ctx context.Context, task *Task) (Outcome, error)
}

// Configurer is a plugin that has settings.
type Configurer interface {
	// Configure takes the settings, before the first task and whenever they change. An error keeps the
	// worker from serving until other settings come; its text is shown to people. A minute without an
	// answer counts as one.
	Configure(ctx context.Context, settings Settings) error
}

// HealthChecker is a plugin that can say whether it can do its work.
type HealthChecker interface {
	// Health is asked before each sign of life; its error is shown to people. It has two seconds.
	Health(ctx context.Context) error
}

// Pauser is a plugin that wants to know when it is told to rest.
type Pauser interface {
	// OnPause is called when no more tasks come for a while; what runs goes on.
	OnPause()
	// OnResume is called when tasks come again.
	OnResume()
}

// Stopper is a plugin that has something to put away.
type Stopper interface {
	// OnStop is called once, when the last task is finished.
	OnStop()
}

// Settings are the values for the manifest's configSchema: texts, numbers (float64) and booleans. Defaults
// are filled in.
type Settings map[string]any

// Text gives a text, or the empty text where there is none.
func (s Settings) Text(name string) string {
	text, _ := s[name].(string)
	return text
}

// Number gives a number, or 0 where there is none.
func (s Settings) Number(name string) float64 {
	number, _ := s[name].(float64)
	return number
}

// Bool gives a boolean, or false where there is none.
func (s Settings) Bool(name string) bool {
	yes, _ := s[name].(bool)
	return yes
}

// Decode writes the settings into a struct with JSON tags.
func (s Settings) Decode(into any) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// String hides the values: some of them may be secret.
func (s Settings) String() string { return fmt.Sprintf("%d settings", len(s)) }

// GoString hides the values.
func (s Settings) GoString() string { return s.String() }

// Value is the value of one metadata key: a text, a set of texts, or JSON.
type Value = wire.MetaValue

// FileFacts is what the finder of a file says about it.
type FileFacts = wire.FileFacts

// Sidecar is a file that belongs to another one: subtitles, `.nfo`.
type Sidecar = wire.Sidecar
