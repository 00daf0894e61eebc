package provider

import (
	"github.com/go-acme/lego/v4/providers/dns/acmedns"
	"github.com/go-acme/lego/v4/providers/dns/active24"
	"github.com/go-acme/lego/v4/providers/dns/alidns"
	"github.com/go-acme/lego/v4/providers/dns/alwaysdata"
	"github.com/go-acme/lego/v4/providers/dns/anexia"
	"github.com/go-acme/lego/v4/providers/dns/artfiles"
	"github.com/go-acme/lego/v4/providers/dns/arvancloud"
	"github.com/go-acme/lego/v4/providers/dns/autodns"
	"github.com/go-acme/lego/v4/providers/dns/axelname"
	"github.com/go-acme/lego/v4/providers/dns/beget"
	"github.com/go-acme/lego/v4/providers/dns/binarylane"
	"github.com/go-acme/lego/v4/providers/dns/bluecat"
	"github.com/go-acme/lego/v4/providers/dns/bluecatv2"
	"github.com/go-acme/lego/v4/providers/dns/bookmyname"
	"github.com/go-acme/lego/v4/providers/dns/brandit"
	"github.com/go-acme/lego/v4/providers/dns/bunny"
	"github.com/go-acme/lego/v4/providers/dns/checkdomain"
	"github.com/go-acme/lego/v4/providers/dns/civo"
	"github.com/go-acme/lego/v4/providers/dns/clouddns"
	"github.com/go-acme/lego/v4/providers/dns/cloudflare"
	"github.com/go-acme/lego/v4/providers/dns/cloudns"
	"github.com/go-acme/lego/v4/providers/dns/cloudru"
	"github.com/go-acme/lego/v4/providers/dns/cloudxns"
	"github.com/go-acme/lego/v4/providers/dns/com35"
	"github.com/go-acme/lego/v4/providers/dns/conoha"
	"github.com/go-acme/lego/v4/providers/dns/conohav3"
	"github.com/go-acme/lego/v4/providers/dns/constellix"
	"github.com/go-acme/lego/v4/providers/dns/corenetworks"
	"github.com/go-acme/lego/v4/providers/dns/cpanel"
	"github.com/go-acme/lego/v4/providers/dns/czechia"
	"github.com/go-acme/lego/v4/providers/dns/ddnss"
	"github.com/go-acme/lego/v4/providers/dns/derak"
	"github.com/go-acme/lego/v4/providers/dns/digitalocean"
	"github.com/go-acme/lego/v4/providers/dns/directadmin"
	"github.com/go-acme/lego/v4/providers/dns/dnsexit"
	"github.com/go-acme/lego/v4/providers/dns/dnshomede"
	"github.com/go-acme/lego/v4/providers/dns/dnsmadeeasy"
	"github.com/go-acme/lego/v4/providers/dns/dnspod"
	"github.com/go-acme/lego/v4/providers/dns/dode"
	"github.com/go-acme/lego/v4/providers/dns/domeneshop"
	"github.com/go-acme/lego/v4/providers/dns/dreamhost"
	"github.com/go-acme/lego/v4/providers/dns/duckdns"
	"github.com/go-acme/lego/v4/providers/dns/dyn"
	"github.com/go-acme/lego/v4/providers/dns/dyndnsfree"
	"github.com/go-acme/lego/v4/providers/dns/dynu"
	"github.com/go-acme/lego/v4/providers/dns/easydns"
	"github.com/go-acme/lego/v4/providers/dns/edgecenter"
	"github.com/go-acme/lego/v4/providers/dns/efficientip"
	"github.com/go-acme/lego/v4/providers/dns/epik"
	"github.com/go-acme/lego/v4/providers/dns/eurodns"
	"github.com/go-acme/lego/v4/providers/dns/excedo"
	"github.com/go-acme/lego/v4/providers/dns/exec"
	"github.com/go-acme/lego/v4/providers/dns/f5xc"
	"github.com/go-acme/lego/v4/providers/dns/gandi"
	"github.com/go-acme/lego/v4/providers/dns/gandiv5"
	"github.com/go-acme/lego/v4/providers/dns/gcore"
	"github.com/go-acme/lego/v4/providers/dns/gigahostno"
	"github.com/go-acme/lego/v4/providers/dns/glesys"
	"github.com/go-acme/lego/v4/providers/dns/godaddy"
	"github.com/go-acme/lego/v4/providers/dns/googledomains"
	"github.com/go-acme/lego/v4/providers/dns/hetzner"
	"github.com/go-acme/lego/v4/providers/dns/hostingde"
	"github.com/go-acme/lego/v4/providers/dns/hostinger"
	"github.com/go-acme/lego/v4/providers/dns/hostingnl"
	"github.com/go-acme/lego/v4/providers/dns/hosttech"
	"github.com/go-acme/lego/v4/providers/dns/httpnet"
	"github.com/go-acme/lego/v4/providers/dns/httpreq"
	"github.com/go-acme/lego/v4/providers/dns/hurricane"
)

// fromAToH has lego's providers by lego's names.
func fromAToH() map[string]maker {
	return map[string]maker{
		"acmedns":       from(acmedns.NewDNSProvider),
		"active24":      from(active24.NewDNSProvider),
		"alidns":        from(alidns.NewDNSProvider),
		"alwaysdata":    from(alwaysdata.NewDNSProvider),
		"anexia":        from(anexia.NewDNSProvider),
		"artfiles":      from(artfiles.NewDNSProvider),
		"arvancloud":    from(arvancloud.NewDNSProvider),
		"autodns":       from(autodns.NewDNSProvider),
		"axelname":      from(axelname.NewDNSProvider),
		"beget":         from(beget.NewDNSProvider),
		"binarylane":    from(binarylane.NewDNSProvider),
		"bluecat":       from(bluecat.NewDNSProvider),
		"bluecatv2":     from(bluecatv2.NewDNSProvider),
		"bookmyname":    from(bookmyname.NewDNSProvider),
		"brandit":       from(brandit.NewDNSProvider),
		"bunny":         from(bunny.NewDNSProvider),
		"checkdomain":   from(checkdomain.NewDNSProvider),
		"civo":          from(civo.NewDNSProvider),
		"clouddns":      from(clouddns.NewDNSProvider),
		"cloudflare":    from(cloudflare.NewDNSProvider),
		"cloudns":       from(cloudns.NewDNSProvider),
		"cloudru":       from(cloudru.NewDNSProvider),
		"cloudxns":      from(cloudxns.NewDNSProvider),
		"com35":         from(com35.NewDNSProvider),
		"conoha":        from(conoha.NewDNSProvider),
		"conohav3":      from(conohav3.NewDNSProvider),
		"constellix":    from(constellix.NewDNSProvider),
		"corenetworks":  from(corenetworks.NewDNSProvider),
		"cpanel":        from(cpanel.NewDNSProvider),
		"czechia":       from(czechia.NewDNSProvider),
		"ddnss":         from(ddnss.NewDNSProvider),
		"derak":         from(derak.NewDNSProvider),
		"digitalocean":  from(digitalocean.NewDNSProvider),
		"directadmin":   from(directadmin.NewDNSProvider),
		"dnsexit":       from(dnsexit.NewDNSProvider),
		"dnshomede":     from(dnshomede.NewDNSProvider),
		"dnsmadeeasy":   from(dnsmadeeasy.NewDNSProvider),
		"dnspod":        from(dnspod.NewDNSProvider),
		"dode":          from(dode.NewDNSProvider),
		"domeneshop":    from(domeneshop.NewDNSProvider),
		"dreamhost":     from(dreamhost.NewDNSProvider),
		"duckdns":       from(duckdns.NewDNSProvider),
		"dyn":           from(dyn.NewDNSProvider),
		"dyndnsfree":    from(dyndnsfree.NewDNSProvider),
		"dynu":          from(dynu.NewDNSProvider),
		"easydns":       from(easydns.NewDNSProvider),
		"edgecenter":    from(edgecenter.NewDNSProvider),
		"efficientip":   from(efficientip.NewDNSProvider),
		"epik":          from(epik.NewDNSProvider),
		"eurodns":       from(eurodns.NewDNSProvider),
		"excedo":        from(excedo.NewDNSProvider),
		"exec":          from(exec.NewDNSProvider),
		"f5xc":          from(f5xc.NewDNSProvider),
		"gandi":         from(gandi.NewDNSProvider),
		"gandiv5":       from(gandiv5.NewDNSProvider),
		"gcore":         from(gcore.NewDNSProvider),
		"gigahostno":    from(gigahostno.NewDNSProvider),
		"glesys":        from(glesys.NewDNSProvider),
		"godaddy":       from(godaddy.NewDNSProvider),
		"googledomains": from(googledomains.NewDNSProvider),
		"hetzner":       from(hetzner.NewDNSProvider),
		"hostingde":     from(hostingde.NewDNSProvider),
		"hostinger":     from(hostinger.NewDNSProvider),
		"hostingnl":     from(hostingnl.NewDNSProvider),
		"hosttech":      from(hosttech.NewDNSProvider),
		"httpnet":       from(httpnet.NewDNSProvider),
		"httpreq":       from(httpreq.NewDNSProvider),
		"hurricane":     from(hurricane.NewDNSProvider),
	}
}
