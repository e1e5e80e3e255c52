// Package fleet starts a real broker and a real coordinator, for tests.
package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
)

// Limit is how long tests wait for anything.
const Limit = 60 * time.Second

// Fleet is a broker with a coordinator.
type Fleet struct {
	Names names.Names
	// NC is the test's own connection.
	NC   *nats.Conn
	port int
	home string

	server, coordinator *exec.Cmd
}

// program finds a program by a variable of the environment.
func program(variable, advice string) (string, error) {
	path := os.Getenv(variable)
	if path == "" {
		return "", fmt.Errorf("%s is not set; %s", variable, advice)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s: %w; %s", variable, err, advice)
	}
	return path, nil
}

// Start starts both in a folder of their own. Stop must follow.
func Start() (*Fleet, error) {
	home, err := os.MkdirTemp("", "metafleet-go-")
	if err != nil {
		return nil, err
	}
	f := &Fleet{Names: names.New("mf"), home: home}
	if f.port, err = freePort(); err == nil {
		err = f.begin()
	}
	if err != nil {
		f.Stop()
		return nil, err
	}
	return f, nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

func (f *Fleet) begin() error {
	metafleet, err := program("METAFLEET_BIN", "build it with `make build`: it is target/stage/bin/metafleet")
	if err != nil {
		return err
	}
	if err := f.StartServer(); err != nil {
		return err
	}
	if f.NC, err = nats.Connect(f.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		return err
	}
	f.coordinator = exec.Command(metafleet, "--data-dir", filepath.Join(f.home, "data"), "--nats", f.URL(),
		"coordinator", "--api-listen", "127.0.0.1:0", "--kv-listen", "127.0.0.1:0")
	f.coordinator.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "METAFLEET_") || strings.HasPrefix(variable, "NATS_")
	})
	// It must not outlive the test, however that ends.
	f.coordinator.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := f.coordinator.StderrPipe()
	if err != nil {
		return err
	}
	if err := f.coordinator.Start(); err != nil {
		return err
	}
	return waitFor(out, "leading")
}

// waitFor reads until a line holds a word; the rest is read away.
func waitFor(out io.Reader, word string) error {
	found := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		var said []string
		for lines.Scan() {
			said = append(said, lines.Text())
			if strings.Contains(lines.Text(), word) {
				found <- nil
				_, _ = io.Copy(io.Discard, out) // its log must not fill the pipe
				return
			}
		}
		found <- fmt.Errorf("it ended without `%s`: %s", word, strings.Join(said, "\n"))
	}()
	select {
	case err := <-found:
		return err
	case <-time.After(Limit):
		return fmt.Errorf("it did not say `%s` in time", word)
	}
}

// StartServer starts the broker, also again on the same port and store.
func (f *Fleet) StartServer() error {
	nats, err := program("NATS_SERVER_BIN", "deploy/tools/nats-server.sh gets one and prints its path")
	if err != nil {
		return err
	}
	f.server = exec.Command(nats, "--addr", "127.0.0.1", "--port", fmt.Sprint(f.port), "-js", "-sd", filepath.Join(f.home, "js"))
	f.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := f.server.StderrPipe()
	if err != nil {
		return err
	}
	if err := f.server.Start(); err != nil {
		return err
	}
	return waitFor(out, "Server is ready")
}

// KillServer kills the broker at once.
func (f *Fleet) KillServer() { kill(f.server) }

// StallServer has the broker do nothing while its connections stay, until it is told to go on.
func (f *Fleet) StallServer(t testing.TB) (goOn func()) {
	t.Helper()
	tell := func(signal syscall.Signal) {
		if err := f.server.Process.Signal(signal); err != nil {
			t.Error(err)
		}
	}
	tell(syscall.SIGSTOP)
	return func() { tell(syscall.SIGCONT) }
}

// KillCoordinator kills the coordinator at once.
func (f *Fleet) KillCoordinator() { kill(f.coordinator) }

func kill(command *exec.Cmd) {
	if command != nil && command.Process != nil {
		_ = command.Process.Kill() // it may be gone already
		_ = command.Wait()         // it says that it was killed
	}
}

// Stop ends everything.
func (f *Fleet) Stop() {
	if f.NC != nil {
		f.NC.Close()
	}
	kill(f.coordinator)
	kill(f.server)
	if err := os.RemoveAll(f.home); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// URL is where clients connect.
func (f *Fleet) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", f.port) }

// Eventually waits until look gives true.
func Eventually(t testing.TB, what string, look func() bool) {
	t.Helper()
	for end := time.Now().Add(Limit); !look(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Submit hands a file in for one plugin.
func (f *Fleet) Submit(t testing.TB, plugin, cid string, more map[string]any, headers nats.Header) {
	t.Helper()
	body := map[string]any{"type": "metafleet.submission.v1", "cid": cid, "filePath": "/none/" + cid, "only": []string{plugin}}
	for key, value := range more {
		body[key] = value
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := f.NC.RequestMsg(&nats.Msg{Subject: f.Names.Submit("fast"), Data: data, Header: headers}, 10*time.Second)
	if err != nil || !strings.Contains(string(answer.Data), `"seq"`) {
		t.Fatalf("could not submit: %v", err)
	}
}

// Stored gives the last message on a subject of a bucket, with its headers; nil where there is none.
func (f *Fleet) Stored(t testing.TB, stream, subject string) *nats.Msg {
	t.Helper()
	request := fmt.Appendf(nil, `{"last_by_subj":%q}`, subject)
	answer, err := f.NC.Request("$JS.API.DIRECT.GET."+stream, request, 10*time.Second)
	if err != nil || len(answer.Data) == 0 {
		return nil // the broker may be away
	}
	return answer
}

// Record waits for a record with the status that says that it is settled.
func (f *Fleet) Record(t testing.TB, cid, plugin string) map[string]any {
	t.Helper()
	record := map[string]any{}
	Eventually(t, "the record of "+cid, func() bool {
		message := f.Stored(t, "KV_mf-records", f.Names.Record(cid, plugin, false))
		if message == nil {
			return false
		}
		if err := json.Unmarshal(message.Data, &record); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return record
}
