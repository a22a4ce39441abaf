package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readJSON reads values of JSON that follow each other, as values of YAML with their
// lines, counted from the first line of text, and no more than would be too many. With an error it returns those before it,
// and the line of the error. The YAML package reads no JSON that has tabs or more than
// one value.
func readJSON(text []byte) (values []*yaml.Node, line int, err error) {
	r := jsonReader{text: text, line: 1}
	for {
		r.skip(func(rest []byte) int {
			return len(rest) - len(bytes.TrimLeft(bytes.TrimPrefix(rest, []byte(bom)), " \t\r\n"))
		})
		if len(r.text) == r.at || len(values) > MaxDocuments {
			return values, 0, nil
		}
		r.begin = r.at
		r.decoder = json.NewDecoder(bytes.NewReader(text[r.at:]))
		r.decoder.UseNumber()
		v, err := r.value(0)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return values, r.here(), err
		}
		values = append(values, v)
	}
}

// jsonReader reads values from text.
type jsonReader struct {
	text    []byte
	at      int // how much of text is read
	line    int // in which that is
	begin   int // where the value begins that the decoder reads
	decoder *json.Decoder
}

// skip goes on until nothing is left to skip.
func (r *jsonReader) skip(length func(rest []byte) int) {
	for n := length(r.text[r.at:]); n > 0; n = length(r.text[r.at:]) {
		r.forward(r.at + n)
	}
}

func (r *jsonReader) forward(to int) {
	r.line += bytes.Count(r.text[r.at:to], []byte("\n"))
	r.at = to
}

// here returns the line in which the decoder is.
func (r *jsonReader) here() int {
	if to := r.begin + int(r.decoder.InputOffset()); to > r.at {
		r.forward(to)
	}
	return r.line
}

// value reads a value.
func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: r.here()}
	switch token := token.(type) {
	case json.Delim:
		if depth > MaxDepth {
			return nil, fmt.Errorf("nested more than %d deep", MaxDepth)
		}
		node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
		if token == '{' {
			node.Kind, node.Tag = yaml.MappingNode, "!!map"
		}
		for r.decoder.More() {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, v)
		}
		if _, err := r.decoder.Token(); err != nil { // the closing one
			return nil, err
		}
		r.here()
	case string:
		node.Tag, node.Value, node.Style = "!!str", token, yaml.DoubleQuotedStyle
	case json.Number:
		node.Tag, node.Value = "!!int", token.String()
		if strings.ContainsAny(node.Value, ".eE") {
			node.Tag = "!!float"
		}
	case bool:
		node.Tag, node.Value = "!!bool", fmt.Sprint(token)
	case nil:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}
