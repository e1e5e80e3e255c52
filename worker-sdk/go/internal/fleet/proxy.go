package fleet

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between one client and the broker; it can be cut, and say something in the name of the broker.
type Proxy struct {
	listener net.Listener
	to       string
	hear     func(line string) (said string, lost bool)

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// Proxy opens a way to the broker that ends with the test. hear is told each line that the client says: what it returns is
// said to the client before the broker hears of the line, which may get lost; nil: nothing, none.
func (f *Fleet) Proxy(t testing.TB, hear func(line string) (said string, lost bool)) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, to: f.URL()[len("nats://"):], hear: hear}
	go p.serve()
	t.Cleanup(func() {
		_ = listener.Close() // whoever listens sees it
		p.Cut()
	})
	return p
}

// URL is where the client connects.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut closes what goes over it, and lets nobody in.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, conn := range p.conns {
		_ = conn.Close() // the other end may have closed it
	}
	p.conns = nil
}

// Heal opens it again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close() // it tries again
			continue
		}
		p.mu.Lock()
		if p.cut {
			_, _ = client.Close(), broker.Close() // nothing went over them
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, client, broker)
		p.mu.Unlock()
		go p.passOn(client, broker)
		go pass(broker, client)
	}
}

// passOn carries what the client says, line by line.
func (p *Proxy) passOn(client, broker net.Conn) {
	if p.hear == nil {
		pass(client, broker)
		return
	}
	for lines := bufio.NewReader(client); ; {
		line, err := lines.ReadString('\n')
		said, lost := p.hear(line)
		if lost {
			line = ""
		}
		if said != "" {
			// A broker that says something at the same time says it in whole messages.
			_, _ = io.WriteString(client, said) // a client that has gone hears nothing
		}
		if _, failed := io.WriteString(broker, line); err != nil || failed != nil {
			_, _ = client.Close(), broker.Close() // both may be closed already
			return
		}
	}
}

// pass carries what one side says until either ends.
func pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)        // a connection that is cut ends with an error
	_, _ = from.Close(), to.Close() // both may be closed already
}
