package metafleet

import (
	"sync"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// state is everything that decides whether tasks are pulled.
type state struct {
	// configured says whether the settings have been taken, and refused why they were not.
	configured bool
	refused    string
	paused     bool
	draining   bool
	// unhealthy is why the plugin's own health check is not content.
	unhealthy string
	// places is how many tasks run at once.
	places int
	lane   string
}

// gate is what the puller needs of it.
type gate struct {
	open   bool
	places int
	lane   string
}

func (s state) gate() gate {
	open := s.configured && s.refused == "" && !s.paused && !s.draining
	return gate{open, s.places, s.lane}
}

// shown is what the worker is doing, and the error that people should see.
func (s state) shown() (wire.InstanceState, string) {
	switch {
	case s.draining:
		return wire.InstanceStateDraining, s.unhealthy
	case !s.configured:
		return wire.InstanceStateStarting, s.unhealthy
	case s.refused != "":
		return wire.InstanceStateFailed, s.refused
	case s.paused:
		return wire.InstanceStatePaused, s.unhealthy
	default:
		return wire.InstanceStateReady, s.unhealthy
	}
}

// standing is the state, and who wants to know of its changes.
type standing struct {
	mu      sync.Mutex
	state   state
	changed bell
}

func newStanding() *standing { return &standing{state: state{lane: names.LaneMain}} }

func (s *standing) now() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// update changes the state, and says whether that made a difference.
func (s *standing) update(change func(*state)) bool {
	s.mu.Lock()
	before := s.state
	change(&s.state)
	changed := before != s.state
	s.mu.Unlock()
	if changed {
		s.changed.ring()
	}
	return changed
}
