// Package labprog runs programs in the nodes of a [testnet.Lab]. What a lab shows
// is often played by several parts: a speaker, an application, a client. Each
// part is a process of its own, because it is inside its node and can be killed.
//
// All parts are one program. It knows its parts as [Roles], and [Role] is the
// command that executes it once more to play one of them:
//
//	var roles = labprog.Roles{"client": runClient}
//
//	func main() { os.Exit(labprog.Main(roles, run)) }
//
// A [Lab] starts the commands, its own roles or others', and fails when one ends
// that should not. What a program prints comes back by [Lines] or [Decode], and
// goes to a [Board], where everybody waits for what must be known to go on.
package labprog
