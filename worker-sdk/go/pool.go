package metafleet

// pool keeps goroutines whose work is done for the next: a stack that has grown once need not grow again for
// each task. There are never more than ran at the same time.
type pool struct{ work chan func() }

func newPool() *pool { return &pool{make(chan func())} }

// run runs f in a goroutine of its own; it does not wait.
func (p *pool) run(f func()) {
	select {
	case p.work <- f:
	default:
		go func() {
			f()
			for next := range p.work {
				next()
			}
		}()
	}
}

// close lets the goroutines go; run must not be called any more.
func (p *pool) close() { close(p.work) }
