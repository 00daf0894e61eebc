package constant

// Version is the release, set by the linker: -ldflags "-X heki/constant.Version=1.2.3".
var Version = "dev"
