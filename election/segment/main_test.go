package segment_test

import (
	"os"
	"testing"

	"github.com/l2vip/l2vip/internal/testnet"
)

func TestMain(m *testing.M) { os.Exit(testnet.Main(m.Run)) }
