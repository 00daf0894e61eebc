module heki/test/clients/xray

go 1.26.0

require github.com/xtls/xray-core v1.260327.0
