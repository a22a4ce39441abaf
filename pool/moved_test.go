package pool_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func TestMoved(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.1-10.0.0.9")}, {Name: "q", Ranges: ranges("10.0.1.1-10.0.1.9")}}
	a := pool.Request{Service: "a", Pool: "p"}
	b := pool.Request{Service: "b", Pool: "p"}
	c := pool.Request{Service: "c", Pool: "p"}
	with := func(r pool.Request, change func(*pool.Request)) pool.Request {
		change(&r)
		return r
	}
	reserved := func(r *pool.Request) { r.Reserved = true }
	two := func(r *pool.Request) { r.Count = 2 }
	one := func(r *pool.Request) { r.Count = 1 }

	for _, tt := range []struct {
		name          string
		before, after []pool.Request
		want          []pool.Move
	}{
		{"nothing changes", []pool.Request{a, b}, []pool.Request{a, b}, nil},
		{"appended", []pool.Request{a, b}, []pool.Request{a, b, c}, nil},
		{"a count of 0 and of 1 are the same", []pool.Request{a}, []pool.Request{with(a, one)}, nil},
		{"the last one removed", []pool.Request{a, b}, []pool.Request{a}, nil},
		{"removed before another", []pool.Request{a, b}, []pool.Request{b}, []pool.Move{move("b", "10.0.0.2", "10.0.0.1")}},
		{"reserved before another", []pool.Request{a, b}, []pool.Request{with(a, reserved), b}, nil},
		{"comes back", []pool.Request{with(a, reserved), b}, []pool.Request{a, b}, nil},
		{"comes back elsewhere", []pool.Request{with(a, reserved), b}, []pool.Request{b, a}, []pool.Move{
			move("a", "10.0.0.1", "10.0.0.2"), move("b", "10.0.0.2", "10.0.0.1"),
		}},
		{"what is reserved may move", []pool.Request{a, b}, []pool.Request{with(b, reserved)}, nil},
		{"inserted", []pool.Request{a, b}, []pool.Request{a, c, b}, []pool.Move{move("b", "10.0.0.2", "10.0.0.3")}},
		{"the last one grows", []pool.Request{a, b}, []pool.Request{a, with(b, two)}, nil},
		{"the last one shrinks", []pool.Request{a, with(b, two)}, []pool.Request{a, b}, nil},
		{"another one grows", []pool.Request{a, b}, []pool.Request{with(a, two), b}, []pool.Move{move("b", "10.0.0.2", "10.0.0.3")}},
		{"asks for another pool", []pool.Request{b}, []pool.Request{with(b, func(r *pool.Request) { r.Pool = "q" })}, nil},
		{"its address is asked for by name", []pool.Request{a, b}, []pool.Request{a, b, {Service: "n", Addresses: addrs("10.0.0.2")}}, []pool.Move{move("b", "10.0.0.2", "10.0.0.3")}},
		{"asks for its address by name", []pool.Request{a, b}, []pool.Request{{Service: "a", Addresses: addrs("10.0.0.1")}, b}, nil},
		{"asks for another address by name", []pool.Request{{Service: "n", Addresses: addrs("10.0.0.1")}}, []pool.Request{{Service: "n", Addresses: addrs("10.0.0.2")}}, nil},
		{"from any pool", []pool.Request{{Service: "x", Count: 1}, {Service: "y", Count: 1}}, []pool.Request{{Service: "y", Count: 1}}, []pool.Move{move("y", "10.0.0.2", "10.0.0.1")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := pool.Moved(allocate(t, pools, tt.before...), allocate(t, pools, tt.after...))
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			var moved *pool.MovedError
			require.ErrorAs(t, err, &moved)
			require.Equal(t, tt.want, moved.Moves)
		})
	}
}

func move(service, from, to string) pool.Move {
	return pool.Move{Service: service, From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)}
}

func TestMovedWhenThePoolChanges(t *testing.T) {
	request := pool.Request{Service: "a", Pool: "p", Count: 2}
	before := allocate(t, []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/24")}}, request)
	after := allocate(t, []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/24"), Exclude: ranges("10.0.0.1")}}, request)
	require.EqualError(t, pool.Moved(before, after), "addresses that are still asked for would move: "+
		`service "a" from 10.0.0.1 to 10.0.0.2, service "a" from 10.0.0.2 to 10.0.0.3`)
}

func TestMovedWithNothing(t *testing.T) {
	some := allocate(t, nil, pool.Request{Service: "a", Addresses: addrs("10.0.0.1")})
	require.NoError(t, pool.Moved(nil, some))
	require.NoError(t, pool.Moved(some, nil))
	require.NoError(t, pool.Moved(nil, nil))
}

func TestMovedErrorStaysReadable(t *testing.T) {
	var e pool.MovedError
	for i := range 100 {
		e.Moves = append(e.Moves, move(fmt.Sprint(i), "10.0.0.1", "10.0.0.2"))
	}
	require.ErrorContains(t, &e, `service "4" from 10.0.0.1 to 10.0.0.2, and 95 more`)
	require.NotContains(t, e.Error(), `service "5"`)
}
