// Package segment is the members on one Ethernet segment: who is alive, who hears
// whom, what each offers and holds.
package segment
