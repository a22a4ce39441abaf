package health

import (
	"strings"
	"unicode"
)

// maxReason bounds the reasons that a Monitor gives, in bytes. They travel to
// logs and status pages, and may quote what a server or a command wrote.
const maxReason = 256

// reason returns what err says as one line of at most maxReason bytes.
func reason(err error) string {
	text := oneLine(err.Error())
	if len(text) > maxReason {
		const ellipsis = "…"
		text = strings.ToValidUTF8(text[:maxReason-len(ellipsis)], "") + ellipsis
	}
	return text
}

// oneLine returns text without what would break a line or a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
