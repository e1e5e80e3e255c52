// Package mask takes secrets out of texts for people, also where they are written in another way.
//
// Programs rarely print a secret as it is: it stands percent-encoded in the address of an error, escaped in JSON,
// in base64 in a header. It knows no clock and no connection.
package mask

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

const (
	// instead stands where a secret was.
	instead = "***"
	// shortest is how long a text must be to be told from other words.
	shortest = 4
	// longLine is how long a line of a secret must be to be a secret by itself.
	longLine = 8
	// layers is how often backslashes are taken away: JSON in the text of JSON has two layers.
	layers = 2
)

// Mask holds texts that must not be shown.
type Mask struct{ forms [][]byte }

// Of gives the mask for those of the settings that are secret.
func Of(settings map[string]any, isSecret func(key string) bool) Mask {
	var texts []string
	for key, value := range settings {
		if isSecret(key) {
			texts = leaves(value, texts)
		}
	}
	return New(texts...)
}

// New gives the mask for these texts.
func New(secrets ...string) Mask {
	var m Mask
	for _, secret := range secrets {
		texts := []string{secret}
		// Logs show a key of many lines line by line.
		for _, line := range strings.Split(secret, "\n") {
			if len(line) >= longLine && len(line) < len(secret) {
				texts = append(texts, line)
			}
		}
		for _, text := range texts {
			if len(text) >= shortest {
				m.forms = append(m.forms, formsOf([]byte(text))...)
			}
		}
	}
	return m
}

// Text gives the text without them.
func (m Mask) Text(text string) string {
	if len(m.forms) == 0 {
		return text
	}
	hidden := m.hidden([]byte(text))
	slices.SortFunc(hidden, func(a, b place) int { return cmp.Or(a.from-b.from, a.to-b.to) })
	var covered strings.Builder
	at := 0
	for i := 0; i < len(hidden); {
		whole := hidden[i]
		for i++; i < len(hidden) && hidden[i].from < whole.to; i++ {
			whole.to = max(whole.to, hidden[i].to)
		}
		covered.WriteString(text[at:whole.from] + instead)
		at = whole.to
	}
	return covered.String() + text[at:]
}

func (m Mask) hidden(text []byte) []place {
	first := plain(text)
	views := []view{first}
	if bytes.ContainsRune(text, '%') {
		views = append(views, first.again(percent))
	}
	if bytes.ContainsRune(text, '+') {
		views = append(views, first.again(form))
	}
	var hidden []place
	for _, v := range views {
		for range layers {
			hidden = v.find(m.forms, hidden)
			if !bytes.ContainsRune(v.text, '\\') {
				break
			}
			v = v.again(escape)
		}
		hidden = v.find(m.forms, hidden)
	}
	return hidden
}

// leaves adds all texts and numbers in a value, however deep.
func leaves(value any, found []string) []string {
	switch value := value.(type) {
	case string:
		// A setting of several parts can only be given as the text of JSON.
		var inner any
		if json.Unmarshal([]byte(value), &inner) == nil {
			switch inner.(type) {
			case []any, map[string]any:
				found = leaves(inner, found)
			}
		}
		found = append(found, value)
	case float64:
		found = append(found, strconv.FormatFloat(value, 'f', -1, 64))
	case []any:
		for _, item := range value {
			found = leaves(item, found)
		}
	case map[string]any:
		for _, field := range value {
			found = leaves(field, found)
		}
	}
	return found
}

// formsOf gives a secret as it is, in hexadecimal digits, and in base64 after 0, 1 or 2 bytes of something else.
func formsOf(secret []byte) [][]byte {
	digits := hex.EncodeToString(secret)
	forms := [][]byte{secret, []byte(digits), []byte(strings.ToUpper(digits))}
	for before := range 3 {
		shifted := append(make([]byte, before), secret...)
		// Characters that also tell of what stands before it, or after it, are left out.
		first, last := (before*8+5)/6, len(shifted)*8/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, []byte(encoding.EncodeToString(shifted)[first:last]))
		}
	}
	return forms
}

// place is from one byte of the text to before another.
type place struct{ from, to int }

// view is a text read in some way, and which bytes of the text as it is make up each byte of it.
type view struct {
	text   []byte
	places []place
}

func plain(text []byte) view {
	places := make([]place, len(text))
	for at := range places {
		places[at] = place{at, at + 1}
	}
	return view{text, places}
}

// again reads it once more; unit says what the text begins with and how long that is, 0 for the byte itself.
func (v view) again(unit func([]byte) ([]byte, int)) view {
	var read view
	for at := 0; at < len(v.text); {
		meaning, length := unit(v.text[at:])
		if length == 0 {
			meaning, length = v.text[at:at+1], 1
		}
		whole := place{v.places[at].from, v.places[at+length-1].to}
		for range meaning {
			read.places = append(read.places, whole)
		}
		read.text = append(read.text, meaning...)
		at += length
	}
	return read
}

func (v view) find(forms [][]byte, hidden []place) []place {
	for _, form := range forms {
		for at := 0; ; at++ {
			next := bytes.Index(v.text[at:], form)
			if next < 0 {
				break
			}
			at += next
			hidden = append(hidden, place{v.places[at].from, v.places[at+len(form)-1].to})
		}
	}
	return hidden
}

// percent reads `%41`.
func percent(text []byte) ([]byte, int) {
	if len(text) < 3 || text[0] != '%' {
		return nil, 0
	}
	meaning, err := hex.DecodeString(string(text[1:3]))
	if err != nil {
		return nil, 0
	}
	return meaning, 3
}

// form reads the same, and the plus sign that stands for a space in forms.
func form(text []byte) ([]byte, int) {
	if text[0] == '+' {
		return []byte{' '}, 1
	}
	return percent(text)
}

// escape reads what a backslash begins in JSON and in most languages.
func escape(text []byte) ([]byte, int) {
	if len(text) < 2 || text[0] != '\\' {
		return nil, 0
	}
	switch kind := text[1]; kind {
	case '"', '\\', '/', '\'':
		return []byte{kind}, 2
	case 'n', 't', 'r', 'b', 'f':
		return []byte{"\n\t\r\b\f"[strings.IndexByte("ntrbf", kind)]}, 2
	case 'x':
		if len(text) >= 4 {
			if meaning, err := hex.DecodeString(string(text[2:4])); err == nil {
				return meaning, 4
			}
		}
	case 'u':
		first, ok := unit(text[2:])
		if !ok {
			return nil, 0
		}
		if !utf16.IsSurrogate(first) {
			return []byte(string(first)), 6
		}
		if len(text) > 8 && text[6] == '\\' && text[7] == 'u' {
			if second, ok := unit(text[8:]); ok {
				return []byte(string(utf16.DecodeRune(first, second))), 12
			}
		}
	}
	return nil, 0
}

func unit(digits []byte) (rune, bool) {
	if len(digits) < 4 {
		return 0, false
	}
	value, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(value), err == nil
}
