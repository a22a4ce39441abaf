package asynclog_test

import (
	"context"
	"log/slog"
	"os"

	"github.com/l2vip/l2vip/internal/asynclog"
)

func Example() {
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	log := asynclog.New(handler)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log.Run(ctx)
	}()
	log.With("member", "front-1").Info("member joined")
	cancel()
	<-ended
	// Output: level=INFO msg="member joined" member=front-1
}
