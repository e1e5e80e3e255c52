package mask_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/mask"
)

func TestASecretIsMaskedHoweverItIsWritten(t *testing.T) {
	m := mask.New("p@ss/wörd \"+1\n")
	for _, row := range []struct{ name, text, expected string }{
		{"as it is", "key=p@ss/wörd \"+1\n!", "key=***!"},
		{"percent", "?key=p%40ss%2Fw%C3%B6rd%20%22%2B1%0A&x=1", "?key=***&x=1"},
		{"percent, lower, slash kept", "?key=p%40ss/w%c3%b6rd%20%22%2b1%0a", "?key=***"},
		{"form", "key=p%40ss%2Fw%C3%B6rd+%22%2B1%0A", "key=***"},
		{"JSON", `{"key":"p@ss/wörd \"+1\n"}`, `{"key":"***"}`},
		{"JSON in ASCII", `{"key":"p@ss\/w\u00f6rd \"+1\n"}`, `{"key":"***"}`},
		{"JSON in JSON", `"{\"key\":\"p@ss/wörd \\\"+1\\n\"}"`, `"{\"key\":\"***\"}"`},
		{"hexadecimal", "7040 704073732f77c3b6726420222b310a", "7040 ***"},
		{"HEXADECIMAL", "704073732F77C3B6726420222B310A.", "***."},
		{"nothing", `p@ss/word and w%C3%B6rd, \u00f6 \x`, `p@ss/word and w%C3%B6rd, \u00f6 \x`},
	} {
		if masked := m.Text(row.text); masked != row.expected {
			t.Errorf("%s: %q", row.name, masked)
		}
	}
	for _, before := range []string{"", "a", "ab", "abc"} {
		encoded := base64.StdEncoding.EncodeToString([]byte(before + "p@ss/wörd \"+1\n and more"))
		if masked := m.Text(encoded); !strings.Contains(masked, "***") || strings.Contains(masked, encoded[8:16]) {
			t.Errorf("base64 after %d: %q of %q", len(before), masked, encoded)
		}
	}
	if masked := mask.New("key😀🔑").Text(`=key\ud83d\ude00\ud83d\udd11;`); masked != "=***;" {
		t.Error(masked)
	}
}

func TestOnlySecretSettingsAreMaskedWithAllTheirParts(t *testing.T) {
	settings := map[string]any{
		"key": "hush-more", "parts": `{"a": ["inner-1"]}`, "pin": 123456.0, "site": "example", "deep": []any{map[string]any{"b": "inner-2"}},
	}
	m := mask.Of(settings, func(key string) bool { return key != "site" })
	if masked := m.Text("example hush-more inner-1 inner-2 123456 x"); masked != "example *** *** *** *** x" {
		t.Error(masked)
	}
	if masked := mask.New("abc").Text("abc"); masked != "abc" {
		t.Error("it is too short to be told from other words")
	}
}
