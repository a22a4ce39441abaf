package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	runs    int
	cases   []testCase
	systems []system
	json    bool
	svg     string
	from    []string      // files to read instead of measuring
	minute  time.Duration // how long what is called a minute lasts
	seeds   int           // of the simulation
	seed    time.Duration // how long each of them lasts
	verbose bool
}

func parseOptions(flags *flag.FlagSet, args []string) (options, error) {
	var o options
	var caseNames, systemNames, from string
	flags.IntVar(&o.runs, "runs", 5, "how often each case is played with each system")
	flags.StringVar(&caseNames, "case", "", "the `cases` to play, separated by commas: "+names(cases)+" (default all)")
	flags.StringVar(&systemNames, "system", "", "the `systems` to measure, separated by commas: "+names(systems())+" (default all)")
	flags.BoolVar(&o.json, "json", false, "print only a JSON document with the result")
	flags.StringVar(&o.svg, "svg", "", "draw the gaps to this `file`")
	flags.StringVar(&from, "from", "", "measure nothing, but join what -json has printed to these `files`, separated by commas")
	flags.DurationVar(&o.minute, "minute", minute, "how long the cases called a minute last")
	flags.IntVar(&o.seeds, "seeds", 100, "how many seeds loss is simulated with")
	flags.DurationVar(&o.seed, "seed", 10*time.Minute, "how much simulated `time` each seed takes")
	flags.BoolVar(&o.verbose, "v", false, "print what the speakers log to the standard error")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.runs < 1:
		return o, fmt.Errorf("-runs %d: at least 1", o.runs)
	case o.seeds < 1:
		return o, fmt.Errorf("-seeds %d: at least 1", o.seeds)
	case o.seed <= 0:
		return o, fmt.Errorf("-seed %v: more than 0", o.seed)
	case o.minute <= 0 || o.minute > longestLoad/2:
		return o, fmt.Errorf("-minute %v: more than 0 and at most %v", o.minute, longestLoad/2)
	}
	if from != "" {
		o.from = strings.Split(from, ",")
	}
	var err error
	if o.cases, err = choose("-case", caseNames, cases); err != nil {
		return o, err
	}
	o.systems, err = choose("-system", systemNames, systems())
	return o, err
}

// named is something that can be chosen by name.
type named interface{ String() string }

// choose returns those that the list names, in the order of all; all for an
// empty list.
func choose[T named](flag, list string, all []T) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(t T) bool { return t.String() == name }) {
			return nil, fmt.Errorf("%s %q: one of %s", flag, name, names(all))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !slices.Contains(wanted, t.String()) }), nil
}

// names lists the names.
func names[T named](all []T) string {
	var list []string
	for _, t := range all {
		list = append(list, t.String())
	}
	return strings.Join(list, ", ")
}
