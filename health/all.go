package health

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/l2vip/l2vip/internal/conferr"
)

// All returns a source that runs the given ones together. It is ready when all
// are, and not before every one has reported; without any it is ready. Its
// reason is that of the first that is not ready, in the order of the
// arguments, and its score the sum of their scores. One source that is not
// ready is enough to know that the whole is not; else the state is first known
// when all have reported.
//
// When one of them fails, Run ends the others, waits for them and returns that
// error. report is called on the goroutines that they call it from.
func All(sources ...Source) Source { return all(sources) }

type all []Source

// Validate returns all that is wrong with the sources, each path after the
// source's index.
func (a all) Validate() error {
	var l conferr.List
	for i, s := range a {
		path := fmt.Sprintf("[%d]", i)
		switch s := s.(type) {
		case nil:
			l.Addf(path, "nil")
		case validator:
			l.Merge(path, s.Validate())
		}
	}
	return l.Err()
}

func (a all) Run(ctx context.Context, report func(State)) error {
	if err := a.Validate(); err != nil {
		return err
	}
	report = changes(report)
	if len(a) == 0 {
		report(State{Ready: true})
		<-ctx.Done()
		return nil
	}

	var mu sync.Mutex // also keeps the reports in order
	states := make([]*State, len(a))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, s := range a {
		group.Go(func() error {
			err := s.Run(groupCtx, func(state State) {
				mu.Lock()
				defer mu.Unlock()
				states[i] = &state
				if joined, known := join(states); known {
					report(joined)
				}
			})
			if err == nil && groupCtx.Err() == nil {
				return fmt.Errorf("health: source %d (%T) ended by itself", i, s)
			}
			return err
		})
	}
	return group.Wait()
}

// join returns the state of the whole, and whether enough is known for one;
// the state of a source that has not reported yet is nil.
func join(states []*State) (whole State, known bool) {
	whole, known = State{Ready: true}, true
	for _, s := range states {
		if s == nil {
			known = false
			continue
		}
		whole.Score += s.Score
		if !s.Ready && whole.Ready {
			whole.Ready, whole.Reason = false, s.Reason
		}
	}
	return whole, known || !whole.Ready
}
