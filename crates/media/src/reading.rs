//! How a stranger's file is opened: which containers and codecs, how large, and nothing else than the file itself. Every process that
//! reads an uploaded file gets these words in front of its input. No demuxer is here that opens other files or the network because
//! a file tells it to (playlists, lists of files, SDP, image sequences, subtitles), and none that renders text or runs scripts.

use std::path::Path;

/// Of a picture in a film: 8K, as cinemas have it.
const MOST_PIXELS: u32 = 8192 * 4320;
/// The largest piece of memory that ffmpeg may ask for at once.
const MOST_AT_ONCE: u32 = 256 << 20;
/// All of it: 4K with ten bits is decoded and encoded in 520 MB, and what needs more is refused by the system.
pub(crate) const MOST_MEMORY: u64 = 640 << 20;

/// Containers, and raw streams of one codec.
const DEMUXERS: &str = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,mxf,gxf,nut,ivf,rm,wtv,dv,mpegvideo,m4v,h264,hevc,h263,obu,vc1,\
    yuv4mpegpipe,gif,apng,mjpeg,wav,w64,mp3,aac,flac,caf,aiff,au,ac3,eac3,dts,truehd,amr,ape,tta,tak,wv,mpc,mpc8,voc,dsf,loas,gsm,sox";

/// Decoders: everything that people's files are coded in.
const DECODERS: &str = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,av1,mpeg1video,mpeg2video,mpegvideo,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,\
    wmv1,wmv2,wmv3,vc1,h261,h263,h263i,h263p,flv,svq1,svq3,mjpeg,mjpegb,prores,dnxhd,cfhd,ffv1,huffyuv,ffvhuff,utvideo,magicyuv,theora,\
    vp3,vp5,vp6,vp6a,vp6f,vp7,rawvideo,v210,v308,v408,v410,r210,yuv4,ayuv,cinepak,indeo2,indeo3,indeo4,indeo5,qtrle,rpza,smc,8bps,\
    msvideo1,msrle,camtasia,tscc2,camstudio,fraps,flashsv,flashsv2,zmbv,lagarith,hap,dxv,jpeg2000,libopenjpeg,dvvideo,rv10,rv20,rv30,rv40,\
    cavs,snow,dirac,gif,apng,png,bmp,webp,\
    aac,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,eac3,dca,truehd,mlp,opus,libopus,vorbis,flac,alac,ape,wavpack,tta,tak,mpc7,mpc8,\
    wmav1,wmav2,wmapro,wmavoice,wmalossless,amrnb,amrwb,speex,libspeex,gsm,gsm_ms,g722,g726,g726le,g723_1,g729,cook,sipr,real_144,real_288,\
    atrac1,atrac3,atrac3plus,nellymoser,qdm2,qdmc,mace3,mace6,dvaudio,s302m,shorten,dsd_lsbf,dsd_msbf,dsd_lsbf_planar,dsd_msbf_planar,\
    pcm_alaw,pcm_mulaw,pcm_bluray,pcm_dvd,pcm_s8,pcm_u8,pcm_s16be,pcm_s16le,pcm_s16be_planar,pcm_s16le_planar,pcm_u16be,pcm_u16le,\
    pcm_s24be,pcm_s24le,pcm_s24le_planar,pcm_u24be,pcm_u24le,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_u32be,pcm_u32le,pcm_s64be,pcm_s64le,\
    pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_f16le,pcm_f24le,pcm_lxf,pcm_vidc,\
    adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_ima_dk3,adpcm_ima_dk4,adpcm_swf,adpcm_yamaha,adpcm_4xm,adpcm_adx";

/// What stands before `-i`, but for the seeking: limits for the reader, and how much is read to learn what the file is.
pub(crate) fn limits() -> String {
    format!(
        "-protocol_whitelist file -format_whitelist {DEMUXERS} -codec_whitelist {DECODERS} -max_pixels {MOST_PIXELS} \
         -probesize 20000000 -analyzeduration 15000000"
    )
}

/// For the tool itself.
pub(crate) fn quiet() -> String {
    format!("-hide_banner -loglevel error -max_alloc {MOST_AT_ONCE}")
}

/// The file as an input's name: never taken for another protocol, whatever it is called.
pub(crate) fn name_of(file: &Path) -> String {
    format!("file:{}", file.display())
}
