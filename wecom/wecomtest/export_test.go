package wecomtest

import "time"

// SetPatience changes how long SendEvent waits for an answer.
func (p *Platform) SetPatience(d time.Duration) { p.patience = d }

// Call counts a call that is answered at once, and returns its errcode.
func (p *Platform) Call(corpID, path string) int {
	code := p.admit(corpID, path)
	if code == 0 {
		p.leave(corpID, path)
	}
	return code
}
