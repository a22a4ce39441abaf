package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerdictVoid(t *testing.T) {
	tests := []struct {
		name string
		// A check each: '+' ended in time, 'o' is overdue, 's' is overdue while
		// the process was starved, '!' ended in time although it was.
		checks string
		want   string // 'v' for void, 'c' for one that counts
	}{
		{"in time", "+!+", "ccc"},
		{"overdue", "oooo", "cccc"},
		{"starved", "s", "v"},
		{"three may be void", "sssss", "vvvcc"},
		{"until one ends in time", "sss+sss!ssss", "vvvcvvvcvvvc"},
		{"what counts between them does not help", "sosossoo", "vcvcvccc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v verdict
			var got string
			for _, c := range tt.checks {
				if v.void(c == 'o' || c == 's', c == 's' || c == '!') {
					got += "v"
				} else {
					got += "c"
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}
