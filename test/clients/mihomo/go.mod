module heki/test/clients/mihomo

go 1.26.0

require github.com/metacubex/mihomo v1.19.20
