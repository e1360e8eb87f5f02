package loader

import "testing"

func TestOnlyAPartitionThatIsBehindWaitsForItsTurn(t *testing.T) {
	for name, c := range map[string]struct {
		claim *claim
		waits bool
	}{
		"a whole block is waiting":        {&claim{next: 100, window: newWindow(100, 0, 0), average: 1024, highWater: func() int64 { return 4196 }}, true},
		"a few large messages":            {&claim{next: 100, window: newWindow(100, 0, 0), average: 1 << 20, highWater: func() int64 { return 101 }}, true},
		"it keeps up":                     {&claim{next: 100, window: newWindow(100, 0, 0), average: 1024, highWater: func() int64 { return 200 }}, false},
		"its block has begun":             {&claim{next: 100, window: newWindow(100, 0, 0), average: 1024, highWater: func() int64 { return 4196 }, block: block{messages: 1}}, false},
		"it has its turn":                 {&claim{next: 100, window: newWindow(100, 0, 0), average: 1024, highWater: func() int64 { return 4196 }, hasTurn: true}, false},
		"it learns what is there already": {&claim{next: 100, window: newWindow(50, 0, 0), average: 1024, highWater: func() int64 { return 4196 }}, false},
	} {
		c.claim.loader = &Loader{config: Config{BlockBytes: 4 << 20}}
		if got := c.claim.needsTurn(); got != c.waits {
			t.Errorf("%s: it waits is %t", name, got)
		}
	}
}

func TestATurnIsLeftOnce(t *testing.T) {
	l := &Loader{turns: make(chan struct{}, 2)}
	l.turns <- struct{}{}
	l.turns <- struct{}{}
	c := &claim{loader: l, hasTurn: true}
	c.leaveTurn()
	c.leaveTurn()
	if len(l.turns) != 1 {
		t.Errorf("%d turns are taken, by one other partition", len(l.turns))
	}
}
