package pool_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func TestSelectorMatches(t *testing.T) {
	expr := func(key string, op pool.Operator, values ...string) pool.Selector {
		return pool.Selector{MatchExpressions: []pool.Requirement{{Key: key, Operator: op, Values: values}}}
	}
	front := map[string]string{"node-role": "front", "zone": ""}
	for _, tt := range []struct {
		name     string
		selector pool.Selector
		labels   map[string]string
		want     bool
	}{
		{"empty matches everything", pool.Selector{}, front, true},
		{"empty matches no labels", pool.Selector{}, nil, true},
		{"label equal", pool.Selector{MatchLabels: map[string]string{"node-role": "front"}}, front, true},
		{"label different", pool.Selector{MatchLabels: map[string]string{"node-role": "worker"}}, front, false},
		{"label absent", pool.Selector{MatchLabels: map[string]string{"rack": "1"}}, front, false},
		{"empty value wants the label present", pool.Selector{MatchLabels: map[string]string{"rack": ""}}, front, false},
		{"empty value present", pool.Selector{MatchLabels: map[string]string{"zone": ""}}, front, true},
		{"all labels needed", pool.Selector{MatchLabels: map[string]string{"node-role": "front", "rack": "1"}}, front, false},
		{"In", expr("node-role", pool.In, "edge", "front"), front, true},
		{"In other value", expr("node-role", pool.In, "edge"), front, false},
		{"In absent", expr("rack", pool.In, "1"), front, false},
		{"In empty value, absent", expr("rack", pool.In, ""), front, false},
		{"NotIn", expr("node-role", pool.NotIn, "front"), front, false},
		{"NotIn other value", expr("node-role", pool.NotIn, "edge"), front, true},
		{"NotIn absent", expr("rack", pool.NotIn, "1"), front, true},
		{"NotIn absent, no labels", expr("rack", pool.NotIn, "1"), nil, true},
		{"Exists", expr("zone", pool.Exists), front, true},
		{"Exists absent", expr("rack", pool.Exists), front, false},
		{"DoesNotExist", expr("zone", pool.DoesNotExist), front, false},
		{"DoesNotExist absent", expr("rack", pool.DoesNotExist), front, true},
		{"unknown operator", expr("zone", "Gt", "1"), front, false},
		{"labels and expressions are both needed", pool.Selector{
			MatchLabels:      map[string]string{"node-role": "front"},
			MatchExpressions: []pool.Requirement{{Key: "zone", Operator: pool.DoesNotExist}},
		}, front, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.selector.Matches(tt.labels))
		})
	}
}

func TestSelectorValidateFindsEverything(t *testing.T) {
	err := pool.Selector{
		MatchLabels: map[string]string{"-bad": "ok", "ok": "not ok"},
		MatchExpressions: []pool.Requirement{
			{Key: "a", Operator: pool.In},
			{Key: "a", Operator: pool.NotIn},
			{Key: "a", Operator: pool.Exists, Values: []string{"x"}},
			{Key: "a", Operator: pool.DoesNotExist, Values: []string{"x"}},
			{Key: "", Operator: "in", Values: []string{"x", "y!"}},
			{Key: "fine", Operator: pool.In, Values: []string{"x", ""}},
		},
	}.Validate()
	require.EqualError(t, err, strings.Join([]string{
		`MatchLabels["-bad"]: label key "-bad": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
		`MatchLabels["ok"]: label value "not ok": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
		`MatchExpressions[0].Values: operator In needs at least one value`,
		`MatchExpressions[1].Values: operator NotIn needs at least one value`,
		`MatchExpressions[2].Values: operator Exists takes no values`,
		`MatchExpressions[3].Values: operator DoesNotExist takes no values`,
		`MatchExpressions[4].Key: label key "": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
		`MatchExpressions[4].Operator: unknown operator "in": want In, NotIn, Exists or DoesNotExist`,
		`MatchExpressions[4].Values[1]: label value "y!": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
	}, "\n"))
	var finding *pool.ConfigError
	require.ErrorAs(t, err, &finding)
}

func TestValidateLabels(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, ok := range []map[string]string{
		nil,
		{"a": ""},
		{"node-role": "front"},
		{"node-role.kubernetes.io/front": "true"},
		{"A_b.c-9": "9.x_Y-z"},
		{long: long},
		{strings.Repeat("a", 253) + "/" + long: ""},
	} {
		require.NoError(t, pool.ValidateLabels(ok))
	}
	for _, tt := range []struct{ key, value, want string }{
		{"", "", "want letters"},
		{"/name", "", "not a DNS subdomain"},
		{"example.com/", "", "want letters"},
		{"a/b/c", "", "want letters"},
		{"Example.com/name", "", "not a DNS subdomain"},
		{"example..com/name", "", "not a DNS subdomain"},
		{"-example.com/name", "", "not a DNS subdomain"},
		{strings.Repeat("a", 254) + "/name", "", "longer than 253"},
		{long + "a", "", "longer than 63"},
		{"name-", "", "want letters"},
		{"näme", "", "want letters"},
		{"name\n", "", "want letters"},
		{"name", long + "a", "longer than 63"},
		{"name", "-x", "want letters"},
		{"name", "x y", "want letters"},
	} {
		require.ErrorContains(t, pool.ValidateLabels(map[string]string{tt.key: tt.value}), tt.want)
	}
}
