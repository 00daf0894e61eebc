package provider

import (
	"github.com/go-acme/lego/v4/providers/dns/infomaniak"
	"github.com/go-acme/lego/v4/providers/dns/internetbs" //nolint:misspell // a name
	"github.com/go-acme/lego/v4/providers/dns/ionos"
	"github.com/go-acme/lego/v4/providers/dns/ionoscloud"
	"github.com/go-acme/lego/v4/providers/dns/ipv64"
	"github.com/go-acme/lego/v4/providers/dns/ispconfig"
	"github.com/go-acme/lego/v4/providers/dns/ispconfigddns"
	"github.com/go-acme/lego/v4/providers/dns/iwantmyname"
	"github.com/go-acme/lego/v4/providers/dns/joker"
	"github.com/go-acme/lego/v4/providers/dns/keyhelp"
	"github.com/go-acme/lego/v4/providers/dns/leaseweb"
	"github.com/go-acme/lego/v4/providers/dns/liara"
	"github.com/go-acme/lego/v4/providers/dns/limacity"
	"github.com/go-acme/lego/v4/providers/dns/linode"
	"github.com/go-acme/lego/v4/providers/dns/loopia"
	"github.com/go-acme/lego/v4/providers/dns/luadns"
	"github.com/go-acme/lego/v4/providers/dns/manageengine"
	"github.com/go-acme/lego/v4/providers/dns/metaregistrar"
	"github.com/go-acme/lego/v4/providers/dns/mijnhost"
	"github.com/go-acme/lego/v4/providers/dns/mittwald"
	"github.com/go-acme/lego/v4/providers/dns/myaddr"
	"github.com/go-acme/lego/v4/providers/dns/mydnsjp"
	"github.com/go-acme/lego/v4/providers/dns/mythicbeasts"
	"github.com/go-acme/lego/v4/providers/dns/namecheap"
	"github.com/go-acme/lego/v4/providers/dns/namesilo"
	"github.com/go-acme/lego/v4/providers/dns/namesurfer"
	"github.com/go-acme/lego/v4/providers/dns/nearlyfreespeech"
	"github.com/go-acme/lego/v4/providers/dns/neodigit"
	"github.com/go-acme/lego/v4/providers/dns/netcup"
	"github.com/go-acme/lego/v4/providers/dns/netlify"
	"github.com/go-acme/lego/v4/providers/dns/netnod"
	"github.com/go-acme/lego/v4/providers/dns/nicmanager"
	"github.com/go-acme/lego/v4/providers/dns/nicru"
	"github.com/go-acme/lego/v4/providers/dns/nifcloud"
	"github.com/go-acme/lego/v4/providers/dns/njalla"
	"github.com/go-acme/lego/v4/providers/dns/octenium"
	"github.com/go-acme/lego/v4/providers/dns/onecloudru"
	"github.com/go-acme/lego/v4/providers/dns/onlinenet"
	"github.com/go-acme/lego/v4/providers/dns/otc"
	"github.com/go-acme/lego/v4/providers/dns/ovh"
	"github.com/go-acme/lego/v4/providers/dns/pdns"
	"github.com/go-acme/lego/v4/providers/dns/plesk"
	"github.com/go-acme/lego/v4/providers/dns/porkbun"
	"github.com/go-acme/lego/v4/providers/dns/rackspace"
	"github.com/go-acme/lego/v4/providers/dns/rainyun"
	"github.com/go-acme/lego/v4/providers/dns/rcodezero"
	"github.com/go-acme/lego/v4/providers/dns/regru"
	"github.com/go-acme/lego/v4/providers/dns/rimuhosting"
	"github.com/go-acme/lego/v4/providers/dns/route53"
	"github.com/go-acme/lego/v4/providers/dns/safedns"
	"github.com/go-acme/lego/v4/providers/dns/selectel"
	"github.com/go-acme/lego/v4/providers/dns/selfhostde"
	"github.com/go-acme/lego/v4/providers/dns/servercow"
	"github.com/go-acme/lego/v4/providers/dns/shellrent"
	"github.com/go-acme/lego/v4/providers/dns/simply"
	"github.com/go-acme/lego/v4/providers/dns/sonic"
	"github.com/go-acme/lego/v4/providers/dns/spaceship"
	"github.com/go-acme/lego/v4/providers/dns/stackpath"
	"github.com/go-acme/lego/v4/providers/dns/syse"
	"github.com/go-acme/lego/v4/providers/dns/technitium"
	"github.com/go-acme/lego/v4/providers/dns/tencentcloud"
	"github.com/go-acme/lego/v4/providers/dns/timewebcloud"
	"github.com/go-acme/lego/v4/providers/dns/todaynic"
	"github.com/go-acme/lego/v4/providers/dns/uniteddomains"
	"github.com/go-acme/lego/v4/providers/dns/variomedia"
	"github.com/go-acme/lego/v4/providers/dns/vercel"
	"github.com/go-acme/lego/v4/providers/dns/versio"
	"github.com/go-acme/lego/v4/providers/dns/virtualname"
	"github.com/go-acme/lego/v4/providers/dns/vscale"
	"github.com/go-acme/lego/v4/providers/dns/vultr"
	"github.com/go-acme/lego/v4/providers/dns/webnames"
	"github.com/go-acme/lego/v4/providers/dns/webnamesca"
	"github.com/go-acme/lego/v4/providers/dns/websupport"
	"github.com/go-acme/lego/v4/providers/dns/wedos"
	"github.com/go-acme/lego/v4/providers/dns/westcn"
	"github.com/go-acme/lego/v4/providers/dns/yandex"
	"github.com/go-acme/lego/v4/providers/dns/yandex360"
	"github.com/go-acme/lego/v4/providers/dns/zoneedit"
	"github.com/go-acme/lego/v4/providers/dns/zoneee"
	"github.com/go-acme/lego/v4/providers/dns/zonomi"
)

// fromIToZ has lego's providers by lego's names.
func fromIToZ() map[string]maker {
	return map[string]maker{
		"infomaniak":       from(infomaniak.NewDNSProvider),
		"internetbs":       from(internetbs.NewDNSProvider), //nolint:misspell // a name
		"ionos":            from(ionos.NewDNSProvider),
		"ionoscloud":       from(ionoscloud.NewDNSProvider),
		"ipv64":            from(ipv64.NewDNSProvider),
		"ispconfig":        from(ispconfig.NewDNSProvider),
		"ispconfigddns":    from(ispconfigddns.NewDNSProvider),
		"iwantmyname":      from(iwantmyname.NewDNSProvider),
		"joker":            from(joker.NewDNSProvider),
		"keyhelp":          from(keyhelp.NewDNSProvider),
		"leaseweb":         from(leaseweb.NewDNSProvider),
		"liara":            from(liara.NewDNSProvider),
		"limacity":         from(limacity.NewDNSProvider),
		"linode":           from(linode.NewDNSProvider),
		"loopia":           from(loopia.NewDNSProvider),
		"luadns":           from(luadns.NewDNSProvider),
		"manageengine":     from(manageengine.NewDNSProvider),
		"metaregistrar":    from(metaregistrar.NewDNSProvider),
		"mijnhost":         from(mijnhost.NewDNSProvider),
		"mittwald":         from(mittwald.NewDNSProvider),
		"myaddr":           from(myaddr.NewDNSProvider),
		"mydnsjp":          from(mydnsjp.NewDNSProvider),
		"mythicbeasts":     from(mythicbeasts.NewDNSProvider),
		"namecheap":        from(namecheap.NewDNSProvider),
		"namesilo":         from(namesilo.NewDNSProvider),
		"namesurfer":       from(namesurfer.NewDNSProvider),
		"nearlyfreespeech": from(nearlyfreespeech.NewDNSProvider),
		"neodigit":         from(neodigit.NewDNSProvider),
		"netcup":           from(netcup.NewDNSProvider),
		"netlify":          from(netlify.NewDNSProvider),
		"netnod":           from(netnod.NewDNSProvider),
		"nicmanager":       from(nicmanager.NewDNSProvider),
		"nicru":            from(nicru.NewDNSProvider),
		"nifcloud":         from(nifcloud.NewDNSProvider),
		"njalla":           from(njalla.NewDNSProvider),
		"octenium":         from(octenium.NewDNSProvider),
		"onecloudru":       from(onecloudru.NewDNSProvider),
		"onlinenet":        from(onlinenet.NewDNSProvider),
		"otc":              from(otc.NewDNSProvider),
		"ovh":              from(ovh.NewDNSProvider),
		"pdns":             from(pdns.NewDNSProvider),
		"plesk":            from(plesk.NewDNSProvider),
		"porkbun":          from(porkbun.NewDNSProvider),
		"rackspace":        from(rackspace.NewDNSProvider),
		"rainyun":          from(rainyun.NewDNSProvider),
		"rcodezero":        from(rcodezero.NewDNSProvider),
		"regru":            from(regru.NewDNSProvider),
		"rimuhosting":      from(rimuhosting.NewDNSProvider),
		"route53":          from(route53.NewDNSProvider),
		"safedns":          from(safedns.NewDNSProvider),
		"selectel":         from(selectel.NewDNSProvider),
		"selfhostde":       from(selfhostde.NewDNSProvider),
		"servercow":        from(servercow.NewDNSProvider),
		"shellrent":        from(shellrent.NewDNSProvider),
		"simply":           from(simply.NewDNSProvider),
		"sonic":            from(sonic.NewDNSProvider),
		"spaceship":        from(spaceship.NewDNSProvider),
		"stackpath":        from(stackpath.NewDNSProvider),
		"syse":             from(syse.NewDNSProvider),
		"technitium":       from(technitium.NewDNSProvider),
		"tencentcloud":     from(tencentcloud.NewDNSProvider),
		"timewebcloud":     from(timewebcloud.NewDNSProvider),
		"todaynic":         from(todaynic.NewDNSProvider),
		"uniteddomains":    from(uniteddomains.NewDNSProvider),
		"variomedia":       from(variomedia.NewDNSProvider),
		"vercel":           from(vercel.NewDNSProvider),
		"versio":           from(versio.NewDNSProvider),
		"virtualname":      from(virtualname.NewDNSProvider),
		"vscale":           from(vscale.NewDNSProvider),
		"vultr":            from(vultr.NewDNSProvider),
		"webnames":         from(webnames.NewDNSProvider),
		"webnamesca":       from(webnamesca.NewDNSProvider),
		"websupport":       from(websupport.NewDNSProvider),
		"wedos":            from(wedos.NewDNSProvider),
		"westcn":           from(westcn.NewDNSProvider),
		"yandex":           from(yandex.NewDNSProvider),
		"yandex360":        from(yandex360.NewDNSProvider),
		"zoneedit":         from(zoneedit.NewDNSProvider),
		"zoneee":           from(zoneee.NewDNSProvider),
		"zonomi":           from(zonomi.NewDNSProvider),
	}
}
