// Package options reads what a worker is told by its environment. Only files with secrets are I/O.
package options

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/paths"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
)

// Options are what a worker is told from outside, checked.
type Options struct {
	// Servers in the order in which they are tried.
	Servers []string
	// Login is how to prove who connects.
	Login Login
	// CA holds certificate authorities, Cert and Key are the client's; empty = the system's, none.
	CA, Cert, Key string
	Prefix        string
	// Plugin is the one that is expected here; empty = any.
	Plugin string
	// Instance is the name of this process; empty = made up.
	Instance string
	// Route whose tasks it does; empty = those that go no route.
	Route string
	// Concurrency is the number of tasks at once; 0 = somebody else decides.
	Concurrency int
	Policy      share.Policy
	// Grace is how long a drain may take.
	Grace time.Duration
	Paths paths.Map
	// FilesURL and FilesToken say where bytes of files come from that are not here; empty = what the
	// coordinator says.
	FilesURL   string
	FilesToken Secret
	// LogLevel and LogFormat are METAFLEET_LOG and METAFLEET_LOG_FORMAT.
	LogLevel  string
	LogFormat string
}

// Login is at most one way of proving who connects.
type Login struct {
	Creds, Nkey string
	Token       Secret
	User        string
	Password    Secret
}

// Secret is a text that is never printed.
type Secret string

// String hides the text.
func (Secret) String() string { return "***" }

// GoString hides the text.
func (Secret) GoString() string { return "***" }

// Error says which variable has a value that cannot be used; it never holds a secret.
type Error struct{ Name, Problem string }

func (e *Error) Error() string { return e.Name + ": " + e.Problem }

// Read checks an environment, given as a look-up; an empty variable counts as absent.
func Read(env func(string) string) (Options, error) {
	r := reader{env: env}
	o := Options{
		Servers:     r.servers(),
		Login:       r.login(),
		CA:          env("NATS_CA"),
		Cert:        env("NATS_CERT"),
		Key:         env("NATS_KEY"),
		Prefix:      r.checked("METAFLEET_PREFIX", "mf", names.CheckPrefix),
		Plugin:      r.checked("METAFLEET_PLUGIN", "", names.CheckPlugin),
		Instance:    r.checked("METAFLEET_INSTANCE", "", names.CheckInstance),
		Route:       r.checked("METAFLEET_ROUTE", "", names.CheckRoute),
		Concurrency: r.concurrency(),
		Policy:      r.policy(),
		Grace:       r.grace(),
		Paths:       r.paths(),
		FilesURL:    r.filesURL(),
		FilesToken:  r.secret("METAFLEET_FILES_TOKEN", "METAFLEET_FILES_TOKEN_FILE"),
		LogLevel:    env("METAFLEET_LOG"),
		LogFormat:   r.logFormat(),
	}
	if (o.Cert == "") != (o.Key == "") {
		r.fail("NATS_CERT", "NATS_CERT and NATS_KEY must both be set, or neither")
	}
	if r.err != nil {
		return Options{}, r.err
	}
	return o, nil
}

// reader keeps the first error.
type reader struct {
	env func(string) string
	err error
}

func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{name, fmt.Sprintf(format, args...)}
	}
}

func (r *reader) checked(name, fallback string, check func(string) error) string {
	text := strings.TrimSpace(r.env(name))
	if text == "" {
		return fallback
	}
	if err := check(text); err != nil {
		r.fail(name, "%v", err)
	}
	return text
}

func (r *reader) servers() []string {
	text := r.env("NATS_URL")
	if text == "" {
		text = "nats://127.0.0.1:4222"
	}
	var servers []string
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			servers = append(servers, one)
		}
	}
	if len(servers) == 0 {
		r.fail("NATS_URL", "it names no server")
	}
	return servers
}

func (r *reader) login() Login {
	env := r.env
	token := r.secret("NATS_TOKEN", "NATS_TOKEN_FILE")
	switch {
	case env("NATS_CREDS") != "":
		return Login{Creds: env("NATS_CREDS")}
	case env("NATS_NKEY") != "":
		return Login{Nkey: env("NATS_NKEY")}
	case token != "":
		return Login{Token: token}
	case env("NATS_USER") != "":
		return Login{User: env("NATS_USER"), Password: r.secret("NATS_PASSWORD", "NATS_PASSWORD_FILE")}
	default:
		return Login{}
	}
}

// secret reads a variable, or the file that another one names: who sees the environment of a container does
// not see that.
func (r *reader) secret(name, inFile string) Secret {
	if value := r.env(name); value != "" {
		return Secret(value)
	}
	path := r.env(inFile)
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		r.fail(inFile, "%v", err)
	}
	return Secret(strings.TrimRight(string(text), "\r\n"))
}

func (r *reader) concurrency() int {
	text := strings.TrimSpace(r.env("METAFLEET_CONCURRENCY"))
	if text == "" {
		return 0
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > 65536 {
		r.fail("METAFLEET_CONCURRENCY", "`%s` must be a whole number from 1 to 65536", text)
	}
	return number
}

func (r *reader) policy() share.Policy {
	switch text := r.env("METAFLEET_QUEUES"); text {
	case "", "share":
		return share.Share
	case "strict":
		return share.Strict
	default:
		r.fail("METAFLEET_QUEUES", "`%s` must be `share` or `strict`", text)
		return share.Share
	}
}

func (r *reader) grace() time.Duration {
	text := strings.TrimSpace(r.env("METAFLEET_GRACE"))
	if text == "" {
		return 30 * time.Second
	}
	unit, number := time.Second, strings.TrimSuffix(text, "s")
	if short, ok := strings.CutSuffix(text, "ms"); ok {
		unit, number = time.Millisecond, short
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(value >= 0 && value <= 1e9) {
		r.fail("METAFLEET_GRACE", "`%s` must be seconds, e.g. `30`, `30s` or `500ms`", text)
		return 0
	}
	return time.Duration(value * float64(unit))
}

func (r *reader) paths() paths.Map {
	text := r.env("METAFLEET_PATHS")
	if text == "" {
		return paths.Map{}
	}
	m, err := paths.Parse(text)
	if err != nil {
		r.fail("METAFLEET_PATHS", "%v", err)
	}
	return m
}

func (r *reader) filesURL() string {
	text := r.env("METAFLEET_FILES_URL")
	if text == "" {
		return ""
	}
	if err := CheckFilesURL(text); err != nil {
		r.fail("METAFLEET_FILES_URL", "%v", err)
	}
	return text
}

// CheckFilesURL says whether bytes of files can come from an address.
func CheckFilesURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.RawQuery != "" {
		return fmt.Errorf("it must be an address like http://host:port/files")
	}
	return nil
}

func (r *reader) logFormat() string {
	switch text := r.env("METAFLEET_LOG_FORMAT"); text {
	case "", "text", "json":
		return text
	default:
		r.fail("METAFLEET_LOG_FORMAT", "`%s` must be `text` or `json`", text)
		return ""
	}
}
