package contacts_test

import (
	"os"
	"testing"
	"time"

	"replygate/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// start is a whole second, as callbacks have them.
var start = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
