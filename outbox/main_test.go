package outbox

import (
	"os"
	"testing"

	"replygate/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
