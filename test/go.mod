module heki/test

go 1.26.0

require heki v0.0.0

replace heki => ..
