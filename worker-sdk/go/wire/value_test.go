package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// FuzzTextsAreWrittenAndReadAsAnyJSON compares with the long way, for texts and for what only looks like one.
func FuzzTextsAreWrittenAndReadAsAnyJSON(f *testing.F) {
	for _, seed := range []string{
		"", "a", `"`, `\`, `a"b`, `a\`, `\"`, "a b", "<&>", "é", "日本", "\n", "\x1f", "\x7f", "~", "\u2028", "\xff", "x\x00", strings.Repeat("x", 300),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var long strings.Builder
		encoder := json.NewEncoder(&long)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(text); err != nil {
			t.Fatal(err)
		}
		written, err := wire.TextValue(text).MarshalJSON()
		if err != nil || string(written) != strings.TrimSuffix(long.String(), "\n") {
			t.Errorf("%q: %s, not %s, %v", text, written, long.String(), err)
		}
		for _, data := range []string{string(written), `"` + text + `"`, `"` + text} {
			var value wire.MetaValue
			var want string
			got, wanted := value.UnmarshalJSON([]byte(data)), json.Unmarshal([]byte(data), &want)
			if have, isText := value.Text(); (got == nil) != (wanted == nil) || !isText || wanted == nil && have != want {
				t.Errorf("%q: %q, not %q, %v, %v", data, have, want, got, wanted)
			}
		}
	})
}
