// Package share decides which queue the next tasks are pulled from: fast first, background never starved.
// It is pure.
//
// Two questions are answered without clock and I/O: how free places are split when both queues have tasks
// waiting ([Policy.Split]), and which pull requests a worker should send now ([Plan]). A place is held by
// a task that runs, promised to a pull request that waits, or free; no more is ever asked for than can run.
package share

// Queue is one of the two queues.
type Queue uint8

const (
	// Fast goes first.
	Fast Queue = iota
	// Background gets its share.
	Background
)

// String is the name of the queue on the wire.
func (q Queue) String() string { return [...]string{"fast", "background"}[q] }

// Other is the other queue.
func (q Queue) Other() Queue { return 1 - q }

// Policy says how the two queues share a worker while both have tasks waiting.
type Policy uint8

const (
	// Share gives at least one of four turns to the background queue, and at most one of four places.
	Share Policy = iota
	// Strict asks for background tasks only while the fast queue is empty.
	Strict
)

// backgroundShare is of how many turns, and of how many places, one is for the background queue.
const backgroundShare = 4

// Side is what is known of one queue.
type Side struct {
	// Waiting tasks in the queue, as of the last delivery; 0 after a pull found nothing.
	Waiting int
	// Held places, by tasks of this queue that run.
	Held int
	// Promised places, to pull requests that have not been answered.
	Promised int
	// Turns it got while both queues had tasks waiting.
	Turns int
	// Due says whether it may be asked again although it was found empty.
	Due bool
}

func (s Side) busy() bool { return s.Waiting > s.Promised }

// Sides are both queues, by [Queue].
type Sides [2]Side

// Note counts the turns that asks give while both queues have tasks waiting; a queue that was alone for a
// while has no claim from that.
func (s *Sides) Note(asks []Ask) {
	contested := s[Fast].busy() && s[Background].busy()
	if !contested {
		s[Fast].Turns, s[Background].Turns = 0, 0
		return
	}
	for _, ask := range asks {
		s[ask.Queue].Turns += ask.Batch
	}
}

// Free places: nobody holds them, and they are promised to no request.
func (s *Sides) Free(places int) int {
	return max(0, places-s[Fast].Held-s[Fast].Promised-s[Background].Held-s[Background].Promised)
}

// Split divides free of all places between two queues that both have tasks waiting.
//
// The background queue gets every fourth turn, so that with one place three fast tasks are followed by a
// background task. It never takes more than a fourth of the places (one at least), because its tasks may be
// long: by turns alone they would come to hold them all.
func (p Policy) Split(free, places int, sides *Sides) (fast, background int) {
	if p == Strict {
		return free, 0
	}
	turns := sides[Fast].Turns + sides[Background].Turns + free
	due := max(0, turns/backgroundShare-sides[Background].Turns)
	most := max(1, places/backgroundShare)
	room := max(0, most-sides[Background].Held-sides[Background].Promised)
	background = min(due, room, free)
	return free - background, background
}

// Ask is one pull request to send.
type Ask struct {
	Queue Queue
	// Batch is for how many tasks; as many places are promised.
	Batch int
	Wait  Wait
}

// Wait says how long a pull request waits when there is nothing.
type Wait uint8

const (
	// No wait: it takes what is there.
	No Wait = iota
	// Turn waits a moment, because it is the only place and the other queue is to get its turn.
	Turn
	// Brief waits a moment, because the place may soon be wanted elsewhere.
	Brief
	// Long waits as long as requests may.
	Long
)

// Plan lists the pull requests to send now.
//
// home is the queue that delivered last: an idle worker waits there with more than one place. A queue known
// to have tasks is asked in batches without waiting. A request for one more place is put off while an
// earlier one is unanswered, until a fourth of all places are free: under load one request fetches many
// tasks.
func Plan(policy Policy, places int, home Queue, sides *Sides) []Ask {
	free := sides.Free(places)
	if free == 0 {
		return nil
	}
	fast, background := sides[Fast].busy(), sides[Background].busy()
	switch {
	case fast && background:
		forFast, forBackground := policy.Split(free, places, sides)
		return append(grab(Fast, forFast, places, sides), grab(Background, forBackground, places, sides)...)
	case fast:
		return oneBusy(Fast, free, places, sides)
	case background:
		return oneBusy(Background, free, places, sides)
	default:
		return idle(home, free, places, sides)
	}
}

// oneBusy gives everything to the busy queue, after a look at the other one when that is due.
func oneBusy(busy Queue, free, places int, sides *Sides) []Ask {
	var asks []Ask
	if other := sides[busy.Other()]; other.Due && other.Promised == 0 {
		asks = append(asks, Ask{busy.Other(), 1, No})
		free--
	}
	return append(asks, grab(busy, free, places, sides)...)
}

func grab(queue Queue, wanted, places int, sides *Sides) []Ask {
	side := sides[queue]
	batch := min(wanted, max(0, side.Waiting-side.Promised))
	worthIt := side.Promised == 0 || batch >= max(1, places/4)
	if batch == 0 || !worthIt {
		return nil
	}
	return []Ask{{queue, batch, No}}
}

// idle: nothing is known to wait, so a request is kept waiting at both queues, and the next task starts at
// once. With a single place only one request may wait; then the queues take turns.
func idle(home Queue, free, places int, sides *Sides) []Ask {
	away := home.Other()
	if places == 1 {
		if sides[away].Due {
			return []Ask{{away, 1, No}}
		}
		return []Ask{{home, 1, Turn}}
	}
	var asks []Ask
	wanted, promised := max(1, places/4), sides[home].Promised
	if promised*2 <= wanted-1 {
		batch := min(wanted-promised, free)
		free -= batch
		asks = append(asks, Ask{home, batch, Long})
	}
	if free > 0 && sides[away].Promised == 0 {
		asks = append(asks, Ask{away, 1, Brief})
	}
	return asks
}
