package pool_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/pool"
)

// maxPriority is the highest priority of a generated pool.
const maxPriority = 2

// someName is the name of a namespace, and the value of a label.
var someName = rapid.SampledFrom([]string{"a", "b"})

// somePools generates pools that do not overlap, with few addresses, so that
// they fill up.
func somePools(t *rapid.T) []pool.Pool {
	var pools []pool.Pool
	var all []pool.Range
	for i := range rapid.IntRange(1, 4).Draw(t, "pools") {
		p := pool.Pool{
			Name:          fmt.Sprint("pool", i),
			Exclude:       rapid.SliceOfN(anyRange(), 0, 3).Draw(t, "exclude"),
			NoAutoAssign:  rapid.Bool().Draw(t, "no auto assign"),
			AvoidBuggyIPs: rapid.Bool().Draw(t, "avoid buggy IPs"),
			Priority:      rapid.IntRange(0, maxPriority).Draw(t, "priority"),
		}
		if rapid.IntRange(0, 3).Draw(t, "restricted to namespaces") == 0 {
			p.Namespaces = rapid.SliceOfN(someName, 1, 2).Draw(t, "namespaces")
		}
		if rapid.IntRange(0, 3).Draw(t, "restricted to services") == 0 {
			p.ServiceSelectors = []pool.Selector{label("app", someName.Draw(t, "selected"))}
		}
		for _, r := range rapid.SliceOfN(anyRange(), 1, 4).Draw(t, "ranges") {
			if !slices.ContainsFunc(all, r.Overlaps) {
				p.Ranges = append(p.Ranges, r)
				all = append(all, r)
			}
		}
		if len(p.Ranges) > 0 {
			pools = append(pools, p)
		}
	}
	return pools
}

// someRequests generates requests, which often ask for more than there is.
func someRequests(t *rapid.T, pools []pool.Pool) []pool.Request {
	named := make(map[netip.Addr]bool)
	var requests []pool.Request
	for i := range rapid.IntRange(0, 12).Draw(t, "requests") {
		r := pool.Request{
			Service: fmt.Sprint("service", i), Reserved: rapid.Bool().Draw(t, "reserved"),
			Namespace: someName.Draw(t, "namespace"), Labels: map[string]string{"app": someName.Draw(t, "app")},
		}
		p := rapid.SampledFrom(pools).Draw(t, "of pool")
		if !p.Admits(r.Namespace, r.Labels) && rapid.IntRange(0, 9).Draw(t, "ask although it is refused") != 0 {
			continue
		}
		switch rapid.IntRange(0, 2).Draw(t, "ask") {
		case 0:
			addrs := slices.Collect(rapid.SampledFrom(p.Ranges).Draw(t, "range").All())
			for _, addr := range rapid.SliceOfN(rapid.SampledFrom(addrs), 1, 3).Draw(t, "addresses") {
				if !named[addr] && !anyContains(p.Exclude, addr) {
					named[addr] = true
					r.Addresses = append(r.Addresses, addr)
				}
			}
			if r.Addresses == nil {
				continue
			}
		case 1:
			r.Pool = p.Name
			r.Count = rapid.IntRange(0, 5).Draw(t, "count")
		case 2:
			r.Count = rapid.IntRange(1, 5).Draw(t, "count")
		}
		requests = append(requests, r)
	}
	return requests
}

// given returns the addresses of every service, reserved or not.
func given(a *pool.Allocation, requests []pool.Request) map[string][]netip.Addr {
	services := make(map[string][]netip.Addr)
	for s := range a.All() {
		services[s.Service] = append(services[s.Service], s.Addr)
	}
	for _, r := range requests {
		if !r.Reserved {
			services[r.Service] = a.Addresses(r.Service)
		}
	}
	return services
}

func TestAllocateDoesWhatTheReferenceDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := somePools(t)
		requests := someRequests(t, pools)
		want, ok := naive(pools, requests)
		got, err := pool.Allocate(pools, requests)
		if ok != (err == nil) {
			// That there is none to assign automatically is an error of its
			// own, and to the reference a pool that is exhausted.
			t.Fatalf("the reference succeeds: %t, but: %v", ok, err)
		}
		if !ok {
			return
		}
		for _, r := range requests {
			if r.Reserved {
				slices.SortFunc(want[r.Service], netip.Addr.Compare) // as All has them
			}
		}
		if got := given(got, requests); !reflect.DeepEqual(want, got) {
			t.Fatalf("want %v, got %v", want, got)
		}
	})
}

func TestNoAddressTwiceAndNoneThatMayNotBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := somePools(t)
		requests := someRequests(t, pools)
		a, err := pool.Allocate(pools, requests)
		if err != nil {
			return
		}
		byName := make(map[netip.Addr]bool)
		for _, r := range requests {
			for _, addr := range r.Addresses {
				byName[addr] = true
			}
		}
		seen := make(map[netip.Addr]bool)
		for s := range a.All() {
			if seen[s.Addr] {
				t.Fatalf("%v is assigned twice", s.Addr)
			}
			seen[s.Addr] = true
			p := pools[slices.IndexFunc(pools, func(p pool.Pool) bool { return p.Name == s.Pool })]
			r := p.Ranges[slices.IndexFunc(p.Ranges, func(r pool.Range) bool { return r.Contains(s.Addr) })]
			if !byName[s.Addr] && !mayBeAutomatic(p, r, s.Addr) {
				t.Fatalf("%v of %v is assigned automatically", s.Addr, r)
			}
			if a.Automatic(s.Addr) == byName[s.Addr] {
				t.Fatalf("%v is asked for by name: %t, automatic: %t", s.Addr, byName[s.Addr], a.Automatic(s.Addr))
			}
			if found, ok := a.Lookup(s.Addr); !ok || found != s {
				t.Fatalf("All has %v, Lookup %v", s, found)
			}
		}
	})
}

func TestAppendingAnAutomaticServiceMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := somePools(t)
		requests := someRequests(t, pools)
		before, err := pool.Allocate(pools, requests)
		if err != nil {
			return
		}
		added := pool.Request{Namespace: "a", Labels: map[string]string{"app": "a"}, Service: "appended", Pool: rapid.SampledFrom(pools).Draw(t, "pool").Name, Count: rapid.IntRange(0, 3).Draw(t, "count")}
		if rapid.Bool().Draw(t, "from any pool") {
			added.Pool, added.Count = "", added.Count+1
		}
		after, err := pool.Allocate(pools, append(slices.Clone(requests), added))
		if err != nil {
			return
		}
		if err := pool.Moved(before, after); err != nil {
			t.Fatal(err)
		}
		for s := range before.All() {
			if found, ok := after.Lookup(s.Addr); !ok || found != s {
				t.Fatalf("%v became %v", s, found)
			}
		}
	})
}

func TestReservingAServiceMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := somePools(t)
		requests := someRequests(t, pools)
		before, err := pool.Allocate(pools, requests)
		if err != nil || len(requests) == 0 {
			return
		}
		changed := slices.Clone(requests)
		gone := &changed[rapid.IntRange(0, len(changed)-1).Draw(t, "gone")]
		gone.Reserved = !gone.Reserved
		after, err := pool.Allocate(pools, changed)
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Moved(before, after); err != nil {
			t.Fatal(err)
		}
		for s := range after.All() {
			if was, ok := before.Lookup(s.Addr); !ok || was.Service != s.Service {
				t.Fatalf("%v was %v", s, was)
			}
		}
	})
}

// What two nodes may write down differently without meaning anything else: the
// order of the pools, as long as services name theirs; of what is excluded; and
// the places of services that name their addresses.
func TestOrderWithoutMeaningChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := somePools(t)
		requests := slices.DeleteFunc(someRequests(t, pools), func(r pool.Request) bool {
			return r.Pool == "" && r.Addresses == nil
		})
		one, err := pool.Allocate(pools, requests)
		shuffledPools := rapid.Permutation(pools).Draw(t, "pools in another order")
		for i := range shuffledPools {
			shuffledPools[i].Exclude = rapid.Permutation(shuffledPools[i].Exclude).Draw(t, "excludes in another order")
		}
		var named, automatic []pool.Request
		for _, r := range requests {
			if r.Addresses != nil {
				named = append(named, r)
			} else {
				automatic = append(automatic, r)
			}
		}
		shuffled := automatic
		for _, r := range rapid.Permutation(named).Draw(t, "named in another order") {
			shuffled = slices.Insert(shuffled, rapid.IntRange(0, len(shuffled)).Draw(t, "place"), r)
		}
		other, otherErr := pool.Allocate(shuffledPools, shuffled)
		if (err == nil) != (otherErr == nil) {
			t.Fatalf("one order: %v, the other: %v", err, otherErr)
		}
		if !slices.Equal(slices.Collect(one.All()), slices.Collect(other.All())) {
			t.Fatalf("one order: %v, the other: %v", given(one, requests), given(other, requests))
		}
	})
}

func TestSelectorsAgreeWithTheirOpposites(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.MapOf(label, label).Draw(t, "labels")
		key := label.Draw(t, "key")
		values := rapid.SliceOfN(label, 1, 3).Draw(t, "values")
		matches := func(op pool.Operator, values ...string) bool {
			return pool.Selector{MatchExpressions: []pool.Requirement{{Key: key, Operator: op, Values: values}}}.Matches(labels)
		}
		if matches(pool.In, values...) == matches(pool.NotIn, values...) || matches(pool.Exists) == matches(pool.DoesNotExist) {
			t.Fatal("an operator and its opposite both match, or neither")
		}
		if !(pool.Selector{MatchLabels: maps.Clone(labels)}).Matches(labels) {
			t.Fatal("labels do not match themselves")
		}
	})
}
