// Package delivery reads what the broker says of a delivery, and decides what follows from the end of an
// attempt. It is pure.
package delivery

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Place is where a delivered message stands in its stream and in its consumer.
type Place struct {
	// Delivered is how often the message was delivered, this time included.
	Delivered uint32
	// Sequence is its number in the stream.
	Sequence uint64
	// StoredAt is when the stream stored it, in nanoseconds of Unix time.
	StoredAt int64
	// Pending is how many messages wait in the consumer behind it.
	Pending int
}

// ParsePlace reads a reply subject, in either of its forms; false for the reply subject of anything else.
func ParsePlace(reply string) (Place, bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return Place{}, false
	}
	tokens := strings.Split(rest, ".")
	switch {
	case len(tokens) == 7:
		tokens = tokens[2:]
	case len(tokens) >= 9:
		tokens = tokens[4:]
	default:
		return Place{}, false
	}
	delivered, err1 := strconv.ParseUint(tokens[0], 10, 32)
	sequence, err2 := strconv.ParseUint(tokens[1], 10, 64)
	_, err3 := strconv.ParseUint(tokens[2], 10, 64)
	storedAt, err4 := strconv.ParseInt(tokens[3], 10, 64)
	pending, err5 := strconv.ParseUint(tokens[4], 10, 31)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return Place{}, false
		}
	}
	return Place{uint32(delivered), sequence, storedAt, int(pending)}, true
}

// The answers to a delivery that never differ.
var (
	Ack      = []byte("+ACK")
	Progress = []byte("+WPI")
)

// Nak asks for the task again after a delay; never without one, because it would come back at once.
func Nak(delay time.Duration) []byte {
	return fmt.Appendf(nil, `-NAK {"delay":%d}`, max(delay, time.Millisecond).Nanoseconds())
}

// reasonBytes is the longest reason that the broker takes.
const reasonBytes = 256

// Term ends a task for ever.
func Term(reason string) []byte {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, reason)
	return []byte("+TERM " + cut(clean, reasonBytes))
}

// textBytes is the longest error, reason or note.
const textBytes = 4096

// Short cuts a text for people at the limit of the protocol, at a character, and mends what is not UTF-8.
func Short(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= textBytes {
		return text
	}
	return cut(text, textBytes-len("…")) + "…"
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
