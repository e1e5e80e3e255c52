package share

import (
	"slices"
	"testing"
)

func side(waiting, held, promised int) Side {
	return Side{Waiting: waiting, Held: held, Promised: promised}
}

func due(s Side) Side { s.Due = true; return s }

func TestFreePlacesAreSplitSoThatBackgroundGetsAFourth(t *testing.T) {
	for _, c := range []struct{ places, free, fastTurns, backgroundTurns, held, fast, background int }{
		{1, 1, 0, 0, 0, 1, 0}, {1, 1, 2, 0, 0, 1, 0}, {1, 1, 3, 0, 0, 0, 1}, {1, 1, 3, 1, 0, 1, 0}, {1, 1, 6, 1, 0, 0, 1},
		{4, 4, 0, 0, 0, 3, 1}, {4, 3, 3, 1, 1, 3, 0},
		{4, 1, 30, 1, 1, 1, 0}, // one of four places already: its tasks are long
		{4, 1, 30, 1, 0, 0, 1},
		{8, 8, 0, 0, 0, 6, 2}, {8, 0, 9, 0, 0, 0, 0},
		{64, 64, 0, 0, 0, 48, 16}, {64, 10, 48, 16, 16, 10, 0},
	} {
		sides := Sides{side(100, c.places-c.free-c.held, 0), side(100, c.held, 0)}
		sides[Fast].Turns, sides[Background].Turns = c.fastTurns, c.backgroundTurns
		if fast, background := Share.Split(c.free, c.places, &sides); fast != c.fast || background != c.background {
			t.Errorf("%+v: %d, %d", c, fast, background)
		}
		if fast, background := Strict.Split(c.free, c.places, &sides); fast != c.free || background != 0 {
			t.Errorf("strict, %+v: %d, %d", c, fast, background)
		}
	}
}

func TestPlansFollowWhatWaits(t *testing.T) {
	empty := Side{}
	for _, c := range []struct {
		what             string
		places           int
		home             Queue
		fast, background Side
		want             []Ask
	}{
		{"nothing free", 2, Fast, side(9, 2, 0), empty, nil},
		{"all promised", 2, Fast, side(0, 0, 1), side(0, 0, 1), nil},
		{"idle", 2, Fast, empty, empty, []Ask{{Fast, 1, Long}, {Background, 1, Brief}}},
		{"idle, many", 64, Background, empty, empty, []Ask{{Background, 16, Long}, {Fast, 1, Brief}}},
		{"idle, half used up", 64, Fast, side(0, 9, 7), side(0, 0, 1), []Ask{{Fast, 9, Long}}},
		{"idle, enough asked", 64, Fast, side(0, 2, 14), side(0, 0, 1), nil},
		{"one place", 1, Fast, empty, empty, []Ask{{Fast, 1, Turn}}},
		{"one place, a look", 1, Fast, empty, due(empty), []Ask{{Background, 1, No}}},
		{"fast busy", 8, Fast, side(99, 2, 0), empty, []Ask{{Fast, 6, No}}},
		{"fast busy, a look", 8, Fast, side(99, 2, 0), due(empty), []Ask{{Background, 1, No}, {Fast, 5, No}}},
		{"few wait", 8, Fast, side(3, 0, 0), empty, []Ask{{Fast, 3, No}}},
		{"background busy", 4, Fast, due(empty), side(99, 3, 0), []Ask{{Fast, 1, No}}},
		{"background alone", 4, Fast, side(0, 0, 1), side(99, 0, 0), []Ask{{Background, 3, No}}},
		{"both busy", 8, Fast, side(99, 0, 0), side(99, 0, 0), []Ask{{Fast, 6, No}, {Background, 2, No}}},
		{"put off", 64, Fast, side(99, 50, 10), empty, nil},
		{"enough to ask again", 64, Fast, side(99, 38, 10), empty, []Ask{{Fast, 16, No}}},
	} {
		if got := Plan(Share, c.places, c.home, &Sides{c.fast, c.background}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, not %+v", c.what, got, c.want)
		}
	}
}

// play runs a worker whose tasks all take one step, with more than enough waiting.
func play(t *testing.T, policy Policy, places, steps int) (fast, background int) {
	sides := Sides{side(1000, 0, 0), side(1000, 0, 0)}
	for range steps {
		asks := Plan(policy, places, Fast, &sides)
		sides.Note(asks)
		taken := [2]int{}
		for _, ask := range asks {
			taken[ask.Queue] += ask.Batch
		}
		if taken[Fast]+taken[Background] > places {
			t.Fatalf("%d places: asked for %v", places, taken)
		}
		fast, background = fast+taken[Fast], background+taken[Background]
	}
	return fast, background
}

func TestUnderSteadyLoadThreeOfFourTurnsAreFast(t *testing.T) {
	for _, places := range []int{1, 2, 3, 4, 8, 64} {
		fast, background := play(t, Share, places, 40)
		if fast+background != places*40 {
			t.Errorf("%d places: %d tasks, so some were idle", places, fast+background)
		}
		if off := background - (fast+background)/4; off < -1 || off > 1 {
			t.Errorf("%d places: %d of %d are background", places, background, fast+background)
		}
		if _, background := play(t, Strict, places, 40); background != 0 {
			t.Errorf("strict, %d places: %d background", places, background)
		}
	}
}

func TestLongBackgroundTasksTakeAFourthOfThePlacesAtMost(t *testing.T) {
	sides := Sides{side(1000, 0, 0), side(1000, 0, 0)}
	for range 100 {
		asks := Plan(Share, 8, Fast, &sides)
		sides.Note(asks)
		for _, ask := range asks { // fast tasks are done at once, background tasks never
			if ask.Queue == Background {
				sides[Background].Held += ask.Batch
			}
		}
	}
	if sides[Background].Held != 2 {
		t.Errorf("%d places", sides[Background].Held)
	}
}

func TestAQueueThatWasAloneHasNoClaimFromThat(t *testing.T) {
	sides := Sides{side(100, 0, 0), {}}
	for range 100 {
		sides.Note(Plan(Share, 4, Fast, &sides))
	}
	if sides[Fast].Turns != 0 || sides[Background].Turns != 0 {
		t.Errorf("%+v", sides)
	}
}
