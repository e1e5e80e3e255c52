package metafleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

func ExampleMeta() {
	meta := metafleet.NewMeta().
		Text("image/width", 640).
		Set("image/tags", "sky", "sea").
		Add("image/tags", "sun").
		JSON("image/gps", map[string]float64{"lat": 47.37, "lon": 8.54})
	text, err := json.Marshal(meta)
	fmt.Println(string(text), err)
	// Output: {"image/gps":{"lat":47.37,"lon":8.54},"image/tags":["sea","sky","sun"],"image/width":"640"} <nil>
}

func ExamplePermanent() {
	errBroken := errors.New("not a JPEG file")
	err := fmt.Errorf("holiday.jpg: %w", metafleet.Permanent(errBroken))
	fmt.Println(metafleet.IsPermanent(err), errors.Is(err, errBroken), err)
	// Output: true true holiday.jpg: not a JPEG file
}

func ExampleRetryLater() {
	fmt.Println(metafleet.RetryLater(90*time.Second, "429 from the service"))
	// Output: retry after 1m30s: 429 from the service
}

func ExampleSettings_Decode() {
	settings := metafleet.Settings{"language": "en", "limit": 5.0, "apiKey": "secret"}
	var s struct {
		Language string `json:"language"`
		Limit    int    `json:"limit"`
	}
	err := settings.Decode(&s)
	fmt.Println(s.Language, s.Limit, err, settings)
	// Output: en 5 <nil> 3 settings
}

// A plugin that looks films up in a service which asks to wait now and then.
type lookUp struct{ key string }

func (*lookUp) Manifest() metafleet.Manifest {
	return metafleet.MustManifest([]byte(`{"id": "look-up", "name": "Look up", "version": "1.0.0", "priority": 60, "queue": "background",
		"dependencies": ["filename-parser"], "reads": ["filename/*"], "dataSchema": {"titles/{n}": {"label": "Title"}},
		"configSchema": {"apiKey": {"type": "string", "required": true, "secret": true}}}`))
}

func (p *lookUp) Configure(_ context.Context, settings metafleet.Settings) error {
	p.key = settings.Text("apiKey")
	return nil
}

func (p *lookUp) Process(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	title, found := task.ExistingText("filename/title")
	switch {
	case !found:
		return metafleet.Skipped("it has no title"), nil
	case title == "busy":
		return metafleet.RetryLater(time.Minute, "429 from the service"), nil
	}
	return metafleet.Completed(metafleet.NewMeta().Text("titles/0", title)), nil
}

func ExampleRun() {
	// func main() {
	metafleet.Run(&lookUp{})
	// }
}
