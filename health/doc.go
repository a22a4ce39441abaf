// Package health says whether the application behind an address is up.
//
// A [Source] reports a [State] whenever it changes; the Runner of package l2vip
// runs the source of each service and offers the service's addresses only
// while it is ready. There are three kinds:
//
//   - Probes ask again and again. [HTTP], [TCP] and [Exec] describe one; a
//     function of your own becomes one as a [Check]. Each is a Source with
//     default timing; a [Monitor] sets the timing: how often, how patiently,
//     and how many results in a row it takes to change the verdict.
//   - [Process] follows a process, by its id or its pid file. Nothing is asked
//     again and again: the kernel tells of the exit as it happens.
//   - [Switch] is set by the program itself.
//
// [All] joins several into one.
//
//	Check ──┐
//	HTTP ───┤
//	TCP ────┼─► Monitor ─┐
//	Exec ───┘            │
//	Process ─────────────┼─► All ─► Runner
//	Switch ──────────────┘
//
// With the defaults, an application whose port is closed is known to be down
// within 200 ms, one that accepts but no longer answers within about a second,
// and one whose process exits at once. A check that ran out of time because
// this program itself was not scheduled says nothing about the application: a
// [Monitor] repeats it before it counts, and then finds one that no longer
// answers within about five seconds.
//
// A configuration can be checked before it runs: the sources of this package
// have a method Validate() error, which returns all that is wrong with them,
// each as a [*ConfigError]. Run refuses what Validate finds.
package health
