module heki/test/clients/sing-box

go 1.26.0

require github.com/sagernet/sing-box v1.14.1
