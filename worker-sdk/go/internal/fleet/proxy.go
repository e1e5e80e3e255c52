package fleet

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between one client and the broker; it can be cut.
type Proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// Proxy opens a way to the broker that ends with the test.
func (f *Fleet) Proxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, to: f.URL()[len("nats://"):]}
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
		go pass(client, broker)
		go pass(broker, client)
	}
}

// pass carries what one side says until either ends.
func pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)        // a connection that is cut ends with an error
	_, _ = from.Close(), to.Close() // both may be closed already
}
